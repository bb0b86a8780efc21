//! Listens to the wake channel: another process made something due earlier.
//!
//! A lost message costs at most a second, until the next beat tells what is due.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::watch;

use super::redis_retry::RedisRetry;
use super::stages::StageControls;
use crate::job::{PerStage, Stage};
use crate::queue::{QueueError, RuledQueue};

/// Without the right to subscribe, it is tried again so often.
const WITHOUT_RIGHT: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Wake {
    pub(crate) queue: RuledQueue,
    pub(crate) controls: PerStage<StageControls>,
}

impl Wake {
    /// Runs until the worker stops.
    pub(crate) async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut retry = RedisRetry::new("wake");
        loop {
            let Err(error) = tokio::select! {
                ended = self.listen() => ended,
                _ = stopping.wait_for(|it| *it) => return,
            };
            if !error.is_missing_right() {
                retry.wait(&error).await;
                continue;
            }
            tracing::debug!(%error, "no right to subscribe: beats tell the same a little later");
            tokio::select! {
                () = tokio::time::sleep(WITHOUT_RIGHT) => {}
                _ = stopping.wait_for(|it| *it) => return,
            }
        }
    }

    async fn listen(&self) -> Result<Infallible, QueueError> {
        let mut woken = pin!(self.queue.wake_ups().await?);
        loop {
            self.tick(&mut woken).await?;
        }
    }

    /// Rings the alarm of the stage that the next message names.
    pub(super) async fn tick(
        &self,
        woken: &mut (impl Stream<Item = Stage> + Unpin),
    ) -> Result<(), QueueError> {
        let stage = woken.next().await.ok_or(QueueError::io(ErrorKind::ConnectionReset))?;
        self.controls.of(stage).alarm.ring_in(Duration::ZERO);
        Ok(())
    }
}
