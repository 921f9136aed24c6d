//! Requests that a gRPC client does not send.

use leastload_fleet::envoy::Envoy;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::wait::in_time;

/// A raw HTTP/1 exchange with a listener: the whole response as text. The request must say
/// `connection: close`.
pub async fn http1(envoy: &Envoy, listener: &str, request: &str) -> String {
    let address = envoy.listener(listener).expect("the listener is there");
    in_time("the connection ends with the response", async {
        let mut stream = TcpStream::connect(address).await.expect("Envoy accepts");
        stream.write_all(request.as_bytes()).await.expect("Envoy reads");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.expect("Envoy answers");
        String::from_utf8_lossy(&response).into_owned()
    })
    .await
}
