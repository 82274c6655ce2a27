// Puts a file and gets it back by the ssh2 package, with one algorithm of each kind and a
// new key exchange in the middle of either. Its one argument is JSON; see libraries.py.
"use strict";

const fs = require("node:fs");
const { Client } = require("ssh2");

const job = JSON.parse(process.argv[2]);
const client = new Client();

function fail(error) {
  console.error(String(error.stack || error));
  process.exit(1);
}

let exchanges = 0;

// A transfer, and a key exchange once a third of it is done.
function transfer(start, done) {
  const before = exchanges;
  let asked = false;
  const step = (moved, _chunk, total) => {
    if (!asked && moved > total / 3) {
      asked = true;
      client._protocol.rekey(); // only servers have it in public
    }
  };
  start({ step }, (error) => {
    if (error) fail(error);
    if (exchanges === before) fail(new Error("the key exchange did not happen"));
    done();
  });
}

client.on("error", fail);
client.on("ready", () => {
  client.sftp((error, sftp) => {
    if (error) fail(error);
    transfer(
      (options, then) => sftp.fastPut(job.up, job.name, options, then),
      () => transfer(
        (options, then) => sftp.fastGet(job.name, job.down, options, then),
        () => client.end(),
      ),
    );
  });
});
client.on("handshake", (agreed) => {
  exchanges += 1;
  console.log(JSON.stringify(agreed));
});
client.on("connect", () => client.setNoDelay()); // or every small message waits for an ACK
client.connect({
  host: "127.0.0.1",
  port: job.port,
  username: job.user,
  privateKey: fs.readFileSync(job.key),
  algorithms: job.algorithms,
});
