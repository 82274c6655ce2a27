//! Takes the steps of a task file with russh-sftp, and answers each in a line of JSON.

use std::error::Error;
use std::sync::Arc;

use russh::client::{connect, Config, Handle, Handler};
use russh::keys::{load_secret_key, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh_sftp::client::SftpSession;
use russh_sftp::protocol::{FileAttributes, OpenFlags};
use serde_json::{json, Value};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const STEP_BYTES: usize = 32_000;

struct AcceptAll;

impl Handler for AcceptAll {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

#[derive(Default)]
struct Client {
    to: Vec<String>,
    connection: Option<Handle<AcceptAll>>,
    sftp: Option<Arc<SftpSession>>,
}

impl Client {
    async fn log_in(&mut self, key: Option<&String>) -> Outcome<()> {
        self.sftp = None;
        self.connection = None;
        let address = (self.to[0].as_str(), self.to[1].parse::<u16>()?);
        let mut connection = connect(Arc::new(Config::default()), address, AcceptAll).await?;
        let user = self.to[2].clone();
        let result = match key {
            None => connection.authenticate_password(user, self.to[3].clone()).await?,
            Some(path) => {
                let hash = connection.best_supported_rsa_hash().await?.flatten();
                let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(path, None)?), hash);
                connection.authenticate_publickey(user, key).await?
            }
        };
        if !result.success() {
            return Err(format!("{result:?}").into());
        }
        let channel = connection.channel_open_session().await?;
        channel.request_subsystem(true, "sftp").await?;
        self.sftp = Some(Arc::new(SftpSession::new(channel.into_stream()).await?));
        self.connection = Some(connection);
        Ok(())
    }

    async fn take(&mut self, step: &[String]) -> Outcome<Value> {
        match step[0].as_str() {
            "to" => self.to = step[1..].to_vec(),
            "login" => self.log_in(step.get(2)).await?,
            _ => {
                let sftp = self.sftp.clone().ok_or("not logged in")?;
                return with_files(sftp, step).await;
            }
        }
        Ok(Value::Null)
    }
}

async fn with_files(sftp: Arc<SftpSession>, step: &[String]) -> Outcome<Value> {
    let new = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    match step[0].as_str() {
        "mkdir" => sftp.create_dir(&step[1]).await?,
        "put" => copy_from(&sftp, &step[1], &step[2], new, 0).await?,
        "resume_put" => {
            let offset = sftp.metadata(&step[2]).await?.size.ok_or("no size")?;
            copy_from(&sftp, &step[1], &step[2], OpenFlags::WRITE, offset).await?;
        }
        "get" => {
            tokio::fs::write(&step[2], b"").await?;
            copy_to(&sftp, &step[1], &step[2]).await?;
        }
        "resume_get" => copy_to(&sftp, &step[1], &step[2]).await?,
        "list" => {
            let found = sftp.read_dir(&step[1]).await?;
            return Ok(json!(found.map(|each| each.file_name()).collect::<Vec<_>>()));
        }
        "stat" => {
            let found = sftp.metadata(&step[1]).await?;
            return Ok(json!({"size": found.size, "mtime": found.mtime}));
        }
        "rename" => sftp.rename(&step[1], &step[2]).await?,
        "replace" => {
            sftp.remove_file(&step[2]).await?;
            sftp.rename(&step[1], &step[2]).await?;
            return Ok(json!("remove, then rename"));
        }
        "chmod" => {
            let mut wanted = FileAttributes::empty();
            wanted.permissions = Some(u32::from_str_radix(&step[2], 8)?);
            sftp.set_metadata(&step[1], wanted).await?;
        }
        "utime" => {
            let mut wanted = FileAttributes::empty();
            wanted.mtime = Some(step[2].parse()?);
            wanted.atime = wanted.mtime;
            sftp.set_metadata(&step[1], wanted).await?;
        }
        "remove" => sftp.remove_file(&step[1]).await?,
        "rmdir" => sftp.remove_dir(&step[1]).await?,
        "put_many" => {
            let running: Vec<_> = step[1..]
                .chunks(2)
                .map(|pair| {
                    let (sftp, pair) = (sftp.clone(), pair.to_vec());
                    tokio::spawn(async move { copy_from(&sftp, &pair[0], &pair[1], new, 0).await })
                })
                .collect();
            for each in running {
                each.await??;
            }
        }
        other => return Err(other.into()),
    }
    Ok(Value::Null)
}

async fn copy_from(sftp: &SftpSession, local: &str, path: &str, flags: OpenFlags, offset: u64) -> Outcome<()> {
    let mut from = tokio::fs::File::open(local).await?;
    let mut to = sftp.open_with_flags(path, flags).await?;
    from.seek(std::io::SeekFrom::Start(offset)).await?;
    to.seek(std::io::SeekFrom::Start(offset)).await?;
    let mut step = vec![0; STEP_BYTES];
    loop {
        let count = from.read(&mut step).await?;
        if count == 0 {
            break;
        }
        to.write_all(&step[..count]).await?;
    }
    to.flush().await?;
    to.close().await?;
    Ok(())
}

async fn copy_to(sftp: &SftpSession, path: &str, local: &str) -> Outcome<()> {
    let mut from = sftp.open(path).await?;
    let mut to = tokio::fs::OpenOptions::new().append(true).open(local).await?;
    let offset = to.metadata().await?.len();
    from.seek(std::io::SeekFrom::Start(offset)).await?;
    let mut step = vec![0; STEP_BYTES];
    loop {
        let count = from.read(&mut step).await?;
        if count == 0 {
            break;
        }
        to.write_all(&step[..count]).await?;
    }
    to.flush().await?;
    from.close().await?;
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    println!("{}", json!({"client": "russh-sftp", "version": "3.0.1"}));
    let task = std::env::args().nth(1).ok_or("no task file")?;
    let mut client = Client::default();
    for line in std::fs::read_to_string(task)?.lines() {
        let step: Vec<String> = line.split('\t').map(String::from).collect();
        match client.take(&step).await {
            Ok(value) => println!("{}", json!({"ok": true, "value": value})),
            Err(error) => println!("{}", json!({"ok": false, "error": error.to_string()})),
        }
    }
    Ok(())
}
