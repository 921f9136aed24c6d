//! One test server: the greeter with a bounded number of slots and drawn service times.
//!
//! A call arrives at the [`meter`] (counts it, knows how it shall end), waits in a first in first
//! out queue for one of the [slots](ServerOptions::slots), holds it for its service time
//! ([`service_time`]), and is
//! answered by the [`greeter`]. Work is simulated by sleeping, so that two cores carry a fleet.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use crate::{
    Error, Result,
    proto::{
        DESCRIPTORS, helloworld::greeter_server::GreeterServer, stats::stats_server::StatsServer,
    },
};

pub mod greeter;
pub mod meter;
pub mod service_time;
mod slots;

pub use service_time::ServiceTime;

/// How a test server behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerOptions {
    /// Calls it works on at once, 1 or more; the rest waits in arrival order.
    pub slots: usize,
    /// Service time at speed 1 of calls that name no `work_ms`.
    pub service: ServiceTime,
    /// Work per time, above 0: 0.5 takes twice as long.
    pub speed: f64,
    /// Seed of the service times: the same seed draws the same times in the order of arrival.
    pub seed: u64,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { slots: 4, service: ServiceTime::Constant(Duration::ZERO), speed: 1.0, seed: 1 }
    }
}

impl ServerOptions {
    /// How `greeter-server` is told of them.
    pub fn arguments(&self) -> [String; 4] {
        [
            format!("--slots={}", self.slots),
            format!("--service={}", self.service),
            format!("--speed={}", self.speed),
            format!("--seed={}", self.seed),
        ]
    }
}

/// Serves the greeter, its statistics, health and reflection on `listener` until `stop` resolves;
/// calls in flight are then finished.
///
/// # Errors
/// When an option is out of range or the listener fails.
pub async fn serve(
    listener: TcpListener,
    options: ServerOptions,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    if options.slots == 0 || !(options.speed > 0.0 && options.speed.is_finite()) {
        return Err(Error::Argument("slots must be 1 or more and speed above 0".into()));
    }
    let address: SocketAddr = listener.local_addr().map_err(Error::io("read own address"))?;
    let meter = Arc::new(meter::Meter::new(address));
    let sampler = tokio::spawn(meter::sample(Arc::clone(&meter)));

    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter.set_serving::<GreeterServer<greeter::Greeter>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| Error::Argument(format!("reflection: {error}")))?;
    let reflection_alpha = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1alpha()
        .map_err(|error| Error::Argument(format!("reflection: {error}")))?;

    let incoming = tokio_stream::StreamExt::map(TcpListenerStream::new(listener), |stream| {
        // Small messages: without this, Nagle and delayed acknowledgements add 40 ms.
        stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream))
    });
    let served = Server::builder()
        // The default of 200 would make calls wait in the proxy, where nobody counts them.
        .max_concurrent_streams(100_000)
        .layer(meter::MeterLayer::new(Arc::clone(&meter)))
        .add_service(GreeterServer::new(greeter::Greeter::new(Arc::clone(&meter), &options)))
        .add_service(StatsServer::new(greeter::StatsService::new(meter, health_reporter)))
        .add_service(health)
        .add_service(reflection)
        .add_service(reflection_alpha)
        .serve_with_incoming_shutdown(incoming, stop)
        .await;
    sampler.abort();
    served.map_err(|error| Error::Child(format!("server at {address}: {error}")))
}
