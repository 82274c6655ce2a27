// Does what scripts do with the ssh2-sftp-client package, in the folder that it is started in.
// Its one argument is JSON: where the gateway is; see test_ssh2_sftp_client.py, which looks at
// what has become of it. What it finds itself it prints, as JSON.
"use strict";

const fs = require("node:fs");
const Client = require("ssh2-sftp-client");

const job = JSON.parse(process.argv[2]);

async function files(sftp, found) {
  await sftp.mkdir("node/deep/er", true);
  await sftp.put("up", "node/put");
  await sftp.put(fs.readFileSync("up"), "node/buffer");
  await sftp.put(fs.createReadStream("up"), "node/stream");
  await sftp.fastPut("up", "node/fast", { concurrency: 16, chunkSize: 65536 });
  await sftp.append(Buffer.from("appended"), "node/put");
  await sftp.rcopy("node/fast", "node/deep/er/copied");
  await sftp.get("node/put", "got");
  await sftp.fastGet("node/fast", "got-fast", { concurrency: 32 });
  found.buffer = (await sftp.get("node/buffer")).equals(fs.readFileSync("up"));
  await sftp.posixRename("node/stream", "node/buffer");
  await sftp.rename("node/fast", "node/renamed");
  found.refused = await sftp.rename("node/put", "node/renamed").then(() => "", (e) => e.message);
}

async function looking(sftp, found) {
  found.cwd = await sftp.cwd();
  found.exists = [];
  for (const path of ["node", "node/put", "node/fast"]) found.exists.push(await sftp.exists(path));
  const listed = await sftp.list("node");
  found.listed = listed.map(({ name, type, size }) => [name, type, size]).sort();
  found.filtered = (await sftp.list("node", ({ name }) => name.startsWith("p"))).length;
  found.isFile = (await sftp.stat("node/put")).isFile;
  found.chmod = await sftp.chmod("node/put", 0o600);
  found.missing = await sftp.get("node/never-was").then(() => "", (error) => error.code);
}

async function trees(sftp) {
  await sftp.uploadDir("tree", "node/tree");
  await sftp.downloadDir("node/tree", "back", { useFastget: true });
  await sftp.uploadDir("tree", "node/fast-tree", { useFastput: true });
  await sftp.rmdir("node/fast-tree", true);
  await sftp.delete("node/renamed");
  await sftp.delete("node/never-was", true);
}

async function main() {
  const found = {};
  const complain = (error) => console.error(error);
  const sftp = new Client("test", { error: complain, end: () => {}, close: () => {} });
  await sftp.connect({
    host: "127.0.0.1",
    port: job.port,
    username: job.user,
    privateKey: fs.readFileSync(job.key),
  });
  try {
    await files(sftp, found);
    await looking(sftp, found);
    await trees(sftp);
  } finally {
    await sftp.end();
  }
  console.log(JSON.stringify(found));
}

main().catch((error) => {
  console.error(String(error.stack || error));
  process.exitCode = 1;
});
