import java.io.File;
import java.io.FileOutputStream;
import java.io.RandomAccessFile;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import net.schmizz.sshj.SSHClient;
import net.schmizz.sshj.sftp.FileAttributes;
import net.schmizz.sshj.sftp.OpenMode;
import net.schmizz.sshj.sftp.RemoteFile;
import net.schmizz.sshj.sftp.RemoteResourceInfo;
import net.schmizz.sshj.sftp.SFTPClient;
import net.schmizz.sshj.transport.verification.PromiscuousVerifier;
import net.schmizz.sshj.xfer.FileSystemFile;

/** SSHJ. Its transfers know no resume before 0.34, so that programs write behind the end. */
public final class SshjClient implements Driver.Library {
    private static final int STEP_BYTES = 32_000;

    private SSHClient client;
    private SFTPClient sftp;

    @Override
    public String name() {
        return "SSHJ";
    }

    @Override
    public String version() {
        return new File(SSHClient.class.getProtectionDomain().getCodeSource().getLocation().getPath())
                .getName().replaceAll("^sshj-|\\.jar$", "");
    }

    @Override
    public void login(Driver.Login login) throws Exception {
        client = new SSHClient();
        client.addHostKeyVerifier(new PromiscuousVerifier());
        client.connect(login.host, login.port);
        if (login.keyFile == null) {
            client.authPassword(login.user, login.password);
        } else {
            client.authPublickey(login.user, login.keyFile);
        }
        sftp = client.newSFTPClient();
    }

    @Override
    public void close() {
        try {
            if (client != null) {
                client.disconnect();
            }
        } catch (java.io.IOException error) {
            // It was closed.
        }
        client = null;
    }

    @Override
    public void mkdir(String path) throws Exception {
        sftp.mkdir(path);
    }

    @Override
    public void put(String local, String path) throws Exception {
        sftp.put(new FileSystemFile(local), path);
    }

    @Override
    public void resumePut(String local, String path) throws Exception {
        try (RandomAccessFile from = new RandomAccessFile(local, "r");
                RemoteFile to = sftp.open(path, EnumSet.of(OpenMode.WRITE))) {
            long offset = to.length();
            from.seek(offset);
            byte[] step = new byte[STEP_BYTES];
            for (int length; (length = from.read(step)) > 0; offset += length) {
                to.write(offset, step, 0, length);
            }
        }
    }

    @Override
    public void get(String path, String local) throws Exception {
        sftp.get(path, new FileSystemFile(local));
    }

    @Override
    public void resumeGet(String path, String local) throws Exception {
        try (RemoteFile from = sftp.open(path);
                FileOutputStream to = new FileOutputStream(local, true)) {
            long offset = new File(local).length();
            byte[] step = new byte[STEP_BYTES];
            for (int length; (length = from.read(offset, step, 0, step.length)) > 0; offset += length) {
                to.write(step, 0, length);
            }
        }
    }

    @Override
    public List<String> list(String path) throws Exception {
        List<String> found = new ArrayList<>();
        for (RemoteResourceInfo each : sftp.ls(path)) {
            found.add(each.getName());
        }
        return found;
    }

    @Override
    public long[] stat(String path) throws Exception {
        FileAttributes found = sftp.stat(path);
        return new long[] {found.getSize(), found.getMtime()};
    }

    @Override
    public void rename(String from, String to) throws Exception {
        sftp.rename(from, to);
    }

    @Override
    public String replace(String from, String to) throws Exception {
        sftp.rm(to);
        sftp.rename(from, to);
        return "remove, then rename";
    }

    @Override
    public void chmod(String path, int mode) throws Exception {
        sftp.chmod(path, mode);
    }

    @Override
    public void utime(String path, int seconds) throws Exception {
        sftp.setattr(path, new FileAttributes.Builder().withAtimeMtime(seconds, seconds).build());
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
        return new SshjClient();
    }
}
