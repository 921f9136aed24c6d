//! Every way in which a call can end leaves no count behind.
//!
//! Calls are open while they are looked at: the filter counts exactly one, then the call ends in
//! its way, then it counts none.

mod by_client;
mod by_envoy;
mod by_server;
mod not_counted;
mod retried;

use std::net::SocketAddr;

use leastload_e2e::{
    held::{Held, Open},
    lab::{Lab, Plan},
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Two servers, an Envoy that steers.
async fn lab() -> Lab {
    Plan::new(2).start().await
}

/// A call that the filter counts and no server has answered yet.
async fn open_and_counted(lab: &Lab) -> Open {
    let call = Open::start(&lab.clients[0]);
    lab.work_is(&[1_000]).await;
    call
}

/// A call that the filter counts and a server has answered with a message.
async fn held_and_counted(lab: &Lab) -> Held {
    let call = Held::start(&lab.clients[0]).await.unwrap();
    lab.work_is(&[1_000]).await;
    call
}

/// A listener that passes bytes on, so that a connection can be cut in the middle. Dropped, it
/// closes all of them without a word.
struct Relay {
    address: SocketAddr,
    _connections: JoinSet<()>,
}

impl Relay {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut inner = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                inner.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        Self { address, _connections: connections }
    }
}
