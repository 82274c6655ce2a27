// ssh2-sftp-client, old and new. NODE_PATH tells which.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const Client = require("ssh2-sftp-client");

const from = process.env.NODE_PATH;
const { version } = JSON.parse(fs.readFileSync(path.join(from, "ssh2-sftp-client", "package.json")));

let sftp = null;
const to = {};

async function connect() {
  const client = new Client();
  const secret = to.key ? { privateKey: fs.readFileSync(to.key) } : { password: to.password };
  await client.connect({
    host: to.host, port: Number(to.port), username: to.user, readyTimeout: 30000, retries: 0, ...secret,
  });
  client.client._sock.setNoDelay(); // or on the loopback each small message waits for an ACK
  return client;
}

const steps = {
  to(host, port, user, password) {
    Object.assign(to, { host, port, user, password });
  },
  async login(_how, key) {
    if (sftp) await sftp.end().catch(() => {});
    sftp = null;
    to.key = key;
    sftp = await connect();
  },
  mkdir: (name) => sftp.mkdir(name),
  put: (local, name) => sftp.put(local, name),
  get: (name, local) => sftp.get(name, local),
  async resume_put(local, name) {
    const { size } = await sftp.stat(name);
    await sftp.append(fs.createReadStream(local, { start: size }), name);
  },
  async resume_get(name, local) {
    const start = fs.statSync(local).size;
    await sftp.get(name, fs.createWriteStream(local, { flags: "a" }), { readStreamOptions: { start } });
  },
  list: async (name) => (await sftp.list(name)).map((each) => each.name),
  async stat(name) {
    const found = await sftp.stat(name);
    return { size: found.size, mtime: Math.floor(found.modifyTime / 1000) };
  },
  rename: (old, name) => sftp.rename(old, name),
  async replace(old, name) {
    if (sftp.posixRename) {
      await sftp.posixRename(old, name);
      return "posix-rename";
    }
    await sftp.delete(name);
    await sftp.rename(old, name);
    return "remove, then rename";
  },
  chmod: (name, mode) => sftp.chmod(name, parseInt(mode, 8)),
  utime: (name, seconds) => new Promise((done, fail) => {
    // It has no function for times: the ssh2 object below has.
    sftp.sftp.utimes(name, Number(seconds), Number(seconds), (error) => (error ? fail(error) : done()));
  }),
  remove: (name) => sftp.delete(name),
  rmdir: (name) => sftp.rmdir(name),
  async put_many(...pairs) {
    const running = [];
    for (let at = 0; at < pairs.length; at += 2) running.push(putOne(pairs[at], pairs[at + 1]));
    await Promise.all(running);
  },
};

async function putOne(local, name) {
  const client = await connect();
  try {
    await client.put(local, name);
  } finally {
    await client.end();
  }
}

function answer(found) {
  fs.writeSync(1, `${JSON.stringify(found)}\n`);
}

async function main() {
  answer({ client: "ssh2-sftp-client", version });
  for (const line of fs.readFileSync(process.argv[2], "utf8").split("\n")) {
    if (!line) continue;
    const [operation, ...rest] = line.split("\t");
    try {
      const value = await steps[operation](...rest);
      const told = operation === "list" || operation === "stat" || operation === "replace";
      answer({ ok: true, value: told ? value : null });
    } catch (error) {
      answer({ ok: false, error: String(error) });
    }
  }
  if (sftp) await sftp.end();
}

main().then(() => process.exit(0));
