# What scripts on Ruby do with net-sftp, which sends requests ahead wherever it can.
# Its argument is a JSON object; it prints another one, with what it has found.

require "json"
require "net/sftp"

task = JSON.parse(ARGV[0])
options = {
  port: task["port"], password: task["password"], auth_methods: ["password"],
  verify_host_key: :never, config: false
}
found = {}
Net::SFTP.start("127.0.0.1", "alice", options) do |sftp|
  together = lambda do |requests|
    sftp.loop
    requests.all? { |request| request.response.ok? }
  end
  sftp.mkdir!("/ruby")
  sftp.mkdir!("/ruby/tree")
  sftp.upload!(task["tree"], "/ruby/tree")
  sftp.download!("/ruby/tree", task["back"], recursive: true)

  sftp.mkdir!("/ruby/m")
  names = (0...20).map { |number| "/ruby/m/d#{number}" }
  found["made"] = together.call(names.flat_map { |name|
    [sftp.mkdir(name), sftp.mkdir("#{name}/e"), sftp.stat("#{name}/e")]
  })
  found["renamed"] = together.call(names.flat_map { |name|
    [sftp.rename(name, "#{name}x"), sftp.stat("#{name}x/e"), sftp.rename("#{name}x", name)]
  })
  found["removed"] = together.call(names.flat_map { |name|
    [sftp.rmdir("#{name}/e"), sftp.rmdir(name)]
  } + [sftp.rmdir("/ruby/m")])

  sftp.file.open("/ruby/log", "w") { |file| 100.times { |number| file.puts("line #{number}") } }
  sftp.file.open("/ruby/log", "a") { |file| file.puts("more") }
  found["lines"] = sftp.download!("/ruby/log").lines.size
end
puts JSON.generate(found)
