# net-sftp. Its argument is the task file.

require "json"
require "net/sftp"

$stdout.sync = true

class Lacks < StandardError; end

class Client
  def initialize
    @ssh = nil
  end

  def to(host, port, user, password)
    @host, @port, @user, @password = host, port.to_i, user, password
  end

  def login(how, key = nil)
    close
    @ssh, @sftp = connect(key)
    nil
  end

  def connect(key)
    secret = key ? { keys: [key], keys_only: true, auth_methods: ["publickey"] } :
                   { password: @password, auth_methods: ["password"] }
    options = { port: @port, verify_host_key: :never, config: false, use_agent: false,
                non_interactive: true, timeout: 30, **secret }
    ssh = Net::SSH.start(@host, @user, options)
    [ssh, Net::SFTP::Session.new(ssh).connect!]
  end

  def close
    @ssh&.close
  rescue StandardError
    nil
  ensure
    @ssh = nil
  end

  def mkdir(path)
    @sftp.mkdir!(path)
    nil
  end

  def put(local, path)
    @sftp.upload!(local, path)
    nil
  end

  def get(path, local)
    @sftp.download!(path, local)
    nil
  end

  def resume_put(local, path)
    offset = @sftp.stat!(path).size
    handle = @sftp.open!(path, "r+")
    File.open(local, "rb") do |file|
      file.seek(offset)
      while (step = file.read(32_000))
        @sftp.write!(handle, offset, step)
        offset += step.bytesize
      end
    end
    @sftp.close!(handle)
    nil
  end

  def resume_get(path, local)
    offset = File.size(local)
    handle = @sftp.open!(path, "r")
    File.open(local, "ab") do |file|
      while (step = @sftp.read!(handle, offset, 32_000))
        file.write(step)
        offset += step.bytesize
      end
    end
    @sftp.close!(handle)
    nil
  end

  def list(path)
    @sftp.dir.entries(path).map(&:name)
  end

  def stat(path)
    found = @sftp.stat!(path)
    { size: found.size, mtime: found.mtime }
  end

  def rename(old, new)
    @sftp.rename!(old, new)
    nil
  end

  def replace(old, new)
    @sftp.remove!(new)
    @sftp.rename!(old, new)
    "remove, then rename"
  end

  def chmod(path, mode)
    @sftp.setstat!(path, permissions: mode.to_i(8))
    nil
  end

  def utime(path, seconds)
    @sftp.setstat!(path, atime: seconds.to_i, mtime: seconds.to_i)
    nil
  end

  def remove(path)
    @sftp.remove!(path)
    nil
  end

  def rmdir(path)
    @sftp.rmdir!(path)
    nil
  end

  # All in one session, as its manual does it.
  def put_many(*pairs)
    running = pairs.each_slice(2).map { |local, path| @sftp.upload(local, path) }
    running.each(&:wait)
    nil
  end
end

puts JSON.generate(client: "net-sftp", version: Gem::Specification.find_by_name("net-sftp").version.to_s)
client = Client.new
File.foreach(ARGV[0], chomp: true) do |line|
  operation, *rest = line.split("\t")
  begin
    value = client.public_send(operation, *rest)
    puts JSON.generate(ok: true, value: %w[list stat replace].include?(operation) ? value : nil)
  rescue Lacks
    puts JSON.generate(ok: false, lacks: true)
  rescue StandardError, NotImplementedError, LoadError => error
    puts JSON.generate(ok: false, error: "#{error.class}: #{error.message}")
  end
end
client.close
