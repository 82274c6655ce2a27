import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Takes the steps of a task file with one Java library, and answers each in a line of JSON. */
public final class Driver {
    /** What a library can do. One object is one connection; a step that it lacks stays as it is here. */
    interface Library {
        String name();

        String version();

        void login(Login login) throws Exception;

        void close();

        void mkdir(String path) throws Exception;

        void put(String local, String path) throws Exception;

        void get(String path, String local) throws Exception;

        List<String> list(String path) throws Exception;

        /** Size and time of modification. */
        long[] stat(String path) throws Exception;

        void rename(String from, String to) throws Exception;

        /** Tells how. */
        String replace(String from, String to) throws Exception;

        void chmod(String path, int mode) throws Exception;

        void utime(String path, int seconds) throws Exception;

        void remove(String path) throws Exception;

        void rmdir(String path) throws Exception;

        default void resumePut(String local, String path) throws Exception {
            throw new Lacks();
        }

        default void resumeGet(String path, String local) throws Exception {
            throw new Lacks();
        }

        /** Another connection of the same kind. */
        Library another();
    }

    static final class Login {
        String host;
        int port;
        String user;
        String password;
        /** Null for a login by password. */
        String keyFile;

        Login with(String file) {
            Login login = new Login();
            login.host = host;
            login.port = port;
            login.user = user;
            login.password = password;
            login.keyFile = file;
            return login;
        }
    }

    static final class Lacks extends Exception {}

    private static final PrintStream OUT = System.out;

    private final Library library;
    private Login login = new Login();

    private Driver(Library library) {
        this.library = library;
    }

    public static void main(String[] arguments) throws Exception {
        Library library = (Library) Class.forName(arguments[0]).getDeclaredConstructor().newInstance();
        // What a library prints must not get among the answers.
        System.setOut(System.err);
        OUT.println("{\"client\": " + text(library.name()) + ", \"version\": " + text(library.version()) + "}");
        Driver driver = new Driver(library);
        for (String line : Files.readAllLines(Paths.get(arguments[1]), StandardCharsets.UTF_8)) {
            driver.answer(line.split("\t", -1));
        }
        library.close();
        System.exit(0);
    }

    private void answer(String[] step) {
        try {
            OUT.println("{\"ok\": true, \"value\": " + json(take(step)) + "}");
        } catch (Lacks error) {
            OUT.println("{\"ok\": false, \"lacks\": true}");
        } catch (Throwable error) {
            OUT.println("{\"ok\": false, \"error\": " + text(whole(error)) + "}");
        }
    }

    private Object take(String[] step) throws Exception {
        switch (step[0]) {
            case "to":
                login.host = step[1];
                login.port = Integer.parseInt(step[2]);
                login.user = step[3];
                login.password = step[4];
                return null;
            case "login":
                library.close();
                login = login.with(step[1].equals("key") ? step[2] : null);
                library.login(login);
                return null;
            case "mkdir":
                library.mkdir(step[1]);
                return null;
            case "put":
                library.put(step[1], step[2]);
                return null;
            case "resume_put":
                library.resumePut(step[1], step[2]);
                return null;
            case "get":
                library.get(step[1], step[2]);
                return null;
            case "resume_get":
                library.resumeGet(step[1], step[2]);
                return null;
            case "list":
                return library.list(step[1]);
            case "stat":
                return library.stat(step[1]);
            case "rename":
                library.rename(step[1], step[2]);
                return null;
            case "replace":
                return library.replace(step[1], step[2]);
            case "chmod":
                library.chmod(step[1], Integer.parseInt(step[2], 8));
                return null;
            case "utime":
                library.utime(step[1], Integer.parseInt(step[2]));
                return null;
            case "remove":
                library.remove(step[1]);
                return null;
            case "rmdir":
                library.rmdir(step[1]);
                return null;
            case "put_many":
                putMany(step);
                return null;
            default:
                throw new IllegalArgumentException(step[0]);
        }
    }

    /** Each over a connection of its own, as programs with a pool have it. */
    private void putMany(String[] step) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Void>> running = new ArrayList<>();
        for (int at = 1; at < step.length; at += 2) {
            String local = step[at];
            String path = step[at + 1];
            Callable<Void> one = () -> {
                Library other = library.another();
                try {
                    other.login(login);
                    other.put(local, path);
                } finally {
                    other.close();
                }
                return null;
            };
            running.add(pool.submit(one));
        }
        pool.shutdown();
        for (Future<Void> each : running) {
            each.get();
        }
    }

    private static String whole(Throwable error) {
        StringBuilder found = new StringBuilder();
        for (Throwable each = error; each != null; each = each.getCause()) {
            found.append(found.length() == 0 ? "" : "; ").append(each);
        }
        return found.toString();
    }

    private static String json(Object value) {
        if (value == null) {
            return "null";
        }
        if (value instanceof long[]) {
            long[] found = (long[]) value;
            return "{\"size\": " + found[0] + ", \"mtime\": " + found[1] + "}";
        }
        if (value instanceof List) {
            List<String> found = new ArrayList<>();
            for (Object each : (List<?>) value) {
                found.add(text(String.valueOf(each)));
            }
            return "[" + String.join(", ", found) + "]";
        }
        return text(value.toString());
    }

    private static String text(String value) {
        StringBuilder found = new StringBuilder("\"");
        for (char each : value.toCharArray()) {
            if (each == '"' || each == '\\') {
                found.append('\\').append(each);
            } else if (each < ' ') {
                found.append(String.format("\\u%04x", (int) each));
            } else {
                found.append(each);
            }
        }
        return found.append('"').toString();
    }
}
