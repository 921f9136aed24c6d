//! Many servers in one process: with one process there is less switching between processes to
//! measure.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::Stdio,
};

use tokio::{io::AsyncReadExt as _, net::TcpListener};

use crate::{Error, Result, process::Process};

/// The running process; ends on drop.
#[derive(Debug)]
pub struct Servers {
    process: Process,
    addresses: Vec<SocketAddr>,
}

impl Servers {
    /// Starts `program` with arguments that make it [`serve`].
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(program: &Path, arguments: &[String]) -> Result<Self> {
        let mut process = Process::spawn(program, arguments, |command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
        let mut line = String::new();
        if let Some(output) = process.streams().stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(Error::io("read the servers' addresses"))?;
        }
        let addresses = serde_json::from_str(&line)
            .map_err(|error| Error::Child(format!("the servers said '{line}': {error}")))?;
        Ok(Self { process, addresses })
    }

    /// Their addresses, in order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// The process: listens on `count` free ports of 127.0.0.1, gives each to `each`, says which on
/// standard output as a JSON list, and ends when standard input closes.
///
/// # Errors
/// When a port cannot be had.
pub async fn serve(count: usize, mut each: impl FnMut(usize, TcpListener)) -> Result<()> {
    let mut addresses = Vec::with_capacity(count);
    for index in 0..count {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(Error::io("listen"))?;
        addresses.push(listener.local_addr().map_err(Error::io("read own address"))?);
        each(index, listener);
    }
    println!("{}", serde_json::json!(addresses));
    std::io::stdout().flush().map_err(Error::io("write to standard output"))?;
    let _ = tokio::io::stdin().read(&mut [0]).await;
    Ok(())
}
