//! Waiting for conditions, so that no test depends on how fast the machine is.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a condition may take to hold, on however slow a machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Asks again and again until the answer is good. Panics with the last bad one.
pub async fn eventually<T, E: std::fmt::Debug>(
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(answer) if Instant::now() > deadline => {
                panic!("never came true: {what}; last: {answer:?}")
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// What `future` gives; panics where that takes longer than any machine should need.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("did not end: {what}")
    };
    value
}
