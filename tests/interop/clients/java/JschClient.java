import com.jcraft.jsch.ChannelSftp;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;
import com.jcraft.jsch.SftpATTRS;
import java.io.File;
import java.util.ArrayList;
import java.util.List;

/** JSch, of JCraft and of those who went on with it. */
public final class JschClient implements Driver.Library {
    private Session session;
    private ChannelSftp sftp;

    @Override
    public String name() {
        return "JSch";
    }

    @Override
    public String version() {
        // JSch.VERSION of 0.1.55 is that of 0.1.54.
        return new File(JSch.class.getProtectionDomain().getCodeSource().getLocation().getPath())
                .getName().replaceAll("^jsch-|\\.jar$", "");
    }

    @Override
    public void login(Driver.Login login) throws Exception {
        JSch jsch = new JSch();
        if (login.keyFile != null) {
            jsch.addIdentity(login.keyFile);
        }
        session = jsch.getSession(login.user, login.host, login.port);
        if (login.keyFile == null) {
            session.setPassword(login.password);
        }
        session.setConfig("StrictHostKeyChecking", "no");
        session.setConfig("PreferredAuthentications", login.keyFile == null ? "password" : "publickey");
        session.connect(30_000);
        sftp = (ChannelSftp) session.openChannel("sftp");
        sftp.connect(30_000);
    }

    @Override
    public void close() {
        if (session != null) {
            session.disconnect();
        }
        session = null;
    }

    @Override
    public void mkdir(String path) throws Exception {
        sftp.mkdir(path);
    }

    @Override
    public void put(String local, String path) throws Exception {
        sftp.put(local, path);
    }

    @Override
    public void resumePut(String local, String path) throws Exception {
        sftp.put(local, path, ChannelSftp.RESUME);
    }

    @Override
    public void get(String path, String local) throws Exception {
        sftp.get(path, local);
    }

    @Override
    public void resumeGet(String path, String local) throws Exception {
        sftp.get(path, local, null, ChannelSftp.RESUME);
    }

    @Override
    public List<String> list(String path) throws Exception {
        List<String> found = new ArrayList<>();
        for (Object each : sftp.ls(path)) {
            found.add(((ChannelSftp.LsEntry) each).getFilename());
        }
        return found;
    }

    @Override
    public long[] stat(String path) throws Exception {
        SftpATTRS found = sftp.stat(path);
        return new long[] {found.getSize(), found.getMTime()};
    }

    @Override
    public void rename(String from, String to) throws Exception {
        sftp.rename(from, to);
    }

    /** Its rename is posix-rename where the server has that. */
    @Override
    public String replace(String from, String to) throws Exception {
        sftp.rename(from, to);
        return "rename";
    }

    @Override
    public void chmod(String path, int mode) throws Exception {
        sftp.chmod(mode, path);
    }

    @Override
    public void utime(String path, int seconds) throws Exception {
        sftp.setMtime(path, seconds);
    }

    @Override
    public void remove(String path) throws Exception {
        sftp.rm(path);
    }

    @Override
    public void rmdir(String path) throws Exception {
        sftp.rmdir(path);
    }

    @Override
    public Driver.Library another() {
        return new JschClient();
    }
}
