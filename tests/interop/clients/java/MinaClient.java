import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.security.KeyPair;
import java.util.ArrayList;
import java.util.List;
import org.apache.sshd.client.SshClient;
import org.apache.sshd.client.keyverifier.AcceptAllServerKeyVerifier;
import org.apache.sshd.client.session.ClientSession;
import org.apache.sshd.common.keyprovider.FileKeyPairProvider;
import org.apache.sshd.sftp.client.SftpClient;
import org.apache.sshd.sftp.client.SftpClientFactory;

/** Apache MINA SSHD without its optional packages for Ed25519. */
public final class MinaClient implements Driver.Library {
    private static final int STEP_BYTES = 32_000;

    private SshClient client;
    private ClientSession session;
    private SftpClient sftp;

    @Override
    public String name() {
        return "Apache MINA SSHD";
    }

    @Override
    public String version() {
        return new File(SftpClient.class.getProtectionDomain().getCodeSource().getLocation().getPath())
                .getName().replaceAll("^sshd-sftp-|\\.jar$", "");
    }

    @Override
    public void login(Driver.Login login) throws Exception {
        client = SshClient.setUpDefaultClient();
        client.setServerKeyVerifier(AcceptAllServerKeyVerifier.INSTANCE);
        client.setKeyIdentityProvider(org.apache.sshd.common.keyprovider.KeyIdentityProvider.EMPTY_KEYS_PROVIDER);
        client.start();
        session = client.connect(login.user, login.host, login.port).verify(30_000).getSession();
        if (login.keyFile == null) {
            session.addPasswordIdentity(login.password);
        } else {
            for (KeyPair each : new FileKeyPairProvider(Paths.get(login.keyFile)).loadKeys(session)) {
                session.addPublicKeyIdentity(each);
            }
        }
        session.auth().verify(30_000);
        sftp = SftpClientFactory.instance().createSftpClient(session);
    }

    @Override
    public void close() {
        if (client != null) {
            client.stop();
        }
        client = null;
    }

    @Override
    public void mkdir(String path) throws Exception {
        sftp.mkdir(path);
    }

    @Override
    public void put(String local, String path) throws Exception {
        try (OutputStream to = sftp.write(path)) {
            Files.copy(Paths.get(local), to);
        }
    }

    @Override
    public void resumePut(String local, String path) throws Exception {
        try (RandomAccessFile from = new RandomAccessFile(local, "r");
                SftpClient.CloseableHandle to = sftp.open(path, SftpClient.OpenMode.Write)) {
            long offset = sftp.stat(to).getSize();
            from.seek(offset);
            byte[] step = new byte[STEP_BYTES];
            for (int length; (length = from.read(step)) > 0; offset += length) {
                sftp.write(to, offset, step, 0, length);
            }
        }
    }

    @Override
    public void get(String path, String local) throws Exception {
        try (InputStream from = sftp.read(path)) {
            Files.copy(from, Paths.get(local));
        }
    }

    @Override
    public void resumeGet(String path, String local) throws Exception {
        try (SftpClient.CloseableHandle from = sftp.open(path, SftpClient.OpenMode.Read);
                OutputStream to = Files.newOutputStream(Paths.get(local), StandardOpenOption.APPEND)) {
            long offset = Files.size(Paths.get(local));
            byte[] step = new byte[STEP_BYTES];
            for (int length; (length = sftp.read(from, offset, step)) > 0; offset += length) {
                to.write(step, 0, length);
            }
        }
    }

    @Override
    public List<String> list(String path) throws Exception {
        List<String> found = new ArrayList<>();
        for (SftpClient.DirEntry each : sftp.readDir(path)) {
            found.add(each.getFilename());
        }
        return found;
    }

    @Override
    public long[] stat(String path) throws Exception {
        SftpClient.Attributes found = sftp.stat(path);
        return new long[] {found.getSize(), found.getModifyTime().toMillis() / 1000};
    }

    @Override
    public void rename(String from, String to) throws Exception {
        sftp.rename(from, to);
    }

    @Override
    public String replace(String from, String to) throws Exception {
        org.apache.sshd.sftp.client.extensions.openssh.OpenSSHPosixRenameExtension posix =
                sftp.getExtension(
                        org.apache.sshd.sftp.client.extensions.openssh.OpenSSHPosixRenameExtension.class);
        posix.posixRename(from, to);
        return "posix-rename";
    }

    @Override
    public void chmod(String path, int mode) throws Exception {
        SftpClient.Attributes wanted = new SftpClient.Attributes();
        wanted.setPermissions(mode);
        sftp.setStat(path, wanted);
    }

    @Override
    public void utime(String path, int seconds) throws Exception {
        FileTime time = FileTime.from(seconds, java.util.concurrent.TimeUnit.SECONDS);
        sftp.setStat(path, new SftpClient.Attributes().modifyTime(time).accessTime(time));
    }

    @Override
    public void remove(String path) throws Exception {
        sftp.remove(path);
    }

    @Override
    public void rmdir(String path) throws Exception {
        sftp.rmdir(path);
    }

    @Override
    public Driver.Library another() {
        return new MinaClient();
    }
}
