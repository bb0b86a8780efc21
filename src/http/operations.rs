//! What a worker or a gateway serves on `http.listen` for those who operate it.
//!
//! `/healthz` (has a role ended, is a loop stuck?), `/readyz` (can it work?), `/metrics`. The remote API's troubles
//! do not make a worker unready: restarting it would not help (docs/contract.md, section 8).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::server::serve;
use crate::job::Stage;
use crate::queue::{QueueError, RuledQueue, StageState, Stats};
use crate::telemetry::{self, Metrics};
use crate::worker::Watchdog;

/// Connections at a time.
const CONNECTIONS: usize = 100;
/// Queue-wide gauges are counted at most so often.
const GAUGES_EVERY: Duration = Duration::from_secs(5);

/// So long Redis may take for it: whoever scrapes does not wait much longer.
const GAUGES_WITHIN: Duration = Duration::from_secs(2);

/// What the routes show.
#[derive(Clone, Debug)]
pub struct Operations {
    /// The queue whose gauges are served, once there is a connection to it.
    pub queue: Arc<OnceLock<RuledQueue>>,
    /// The watchdog of this process.
    pub watchdog: Watchdog,
    /// The process's metrics.
    pub metrics: Metrics,
}

struct Shown {
    operations: Operations,
    gauges: Mutex<Gauges>,
}

/// When the queue-wide gauges are set.
#[derive(Default)]
struct Gauges {
    set_at: Option<Instant>,
    /// Whether the server does not say how it does with its memory. Asking again would each time
    /// look like a right that was taken away.
    memory_is_unsaid: bool,
    /// The groups of readers that have been told of.
    groups: BTreeSet<String>,
}

impl Operations {
    /// Serves on this address; when it is taken, on a free port, which is said aloud.
    ///
    /// # Errors
    /// When the address cannot be listened on at all.
    pub async fn serve(self, listen: SocketAddr) -> io::Result<JoinHandle<()>> {
        let listener = match TcpListener::bind(listen).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let listener = TcpListener::bind(SocketAddr::new(listen.ip(), 0)).await?;
                tracing::warn!(taken = %listen, "http.listen is taken: using a free port");
                listener
            }
            other => other?,
        };
        tracing::info!(http.address = %listener.local_addr()?, "serving health and metrics");
        let shown = Arc::new(Shown { operations: self, gauges: Mutex::default() });
        let routes = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render))
            .with_state(shown);
        // It serves as long as its task runs.
        Ok(tokio::spawn(async move {
            let (_never, stopping) = watch::channel(false);
            serve(listener, routes, CONNECTIONS, stopping).await;
        }))
    }
}

async fn healthz(State(shown): State<Arc<Shown>>) -> (StatusCode, String) {
    match shown.operations.watchdog.illness() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(illness) => (StatusCode::SERVICE_UNAVAILABLE, illness + "\n"),
    }
}

async fn readyz(State(shown): State<Arc<Shown>>) -> (StatusCode, String) {
    let watchdog = &shown.operations.watchdog;
    if let Some(why) = watchdog.unreadiness() {
        return (StatusCode::SERVICE_UNAVAILABLE, why + "\n");
    }
    let mut body = vec!["ready".to_owned()];
    body.extend(watchdog.hindrances());
    (StatusCode::OK, body.join("; ") + "\n")
}

async fn render(State(shown): State<Arc<Shown>>) -> String {
    let Operations { queue, watchdog, metrics } = &shown.operations;
    let mut gauges = shown.gauges.lock().await;
    if gauges.set_at.is_none_or(|at| at.elapsed() >= GAUGES_EVERY) {
        let Some(queue) = queue.get() else {
            telemetry::queue_unknown();
            return metrics.render();
        };
        let set = timeout(GAUGES_WITHIN, gauges.set(queue)).await;
        if !matches!(set, Ok(Ok(()))) {
            let error = set.ok().and_then(Result::err);
            telemetry::redis_error(error.map_or("unavailable", |it| it.kind()));
            telemetry::queue_unknown();
            gauges.set_groups(&BTreeMap::new());
        }
        gauges.set_at = Some(Instant::now());
    }
    for (name, age) in watchdog.loop_ages() {
        telemetry::loop_age(name, age);
    }
    metrics.render()
}

impl Gauges {
    async fn set(&mut self, queue: &RuledQueue) -> Result<(), QueueError> {
        let stats = queue.stats().await?;
        set_counts(&stats);
        self.set_groups(&stats.result_groups_ms);
        telemetry::held(queue.held().await?);
        let memory = if self.memory_is_unsaid { None } else { queue.memory().await? };
        self.memory_is_unsaid = memory.is_none();
        let said = memory.map_or((0, 0), |it| (it.used_bytes, it.limit_bytes));
        telemetry::redis_memory(said.0, said.1);
        Ok(())
    }

    /// What is known of these groups, and of no others any more.
    fn set_groups(&mut self, ages_ms: &BTreeMap<String, u64>) {
        for (group, age_ms) in ages_ms {
            telemetry::results_group(group, Duration::from_millis(*age_ms));
        }
        let gone = self.groups.iter().filter(|it| !ages_ms.contains_key(*it));
        gone.for_each(|it| telemetry::results_group_unknown(it));
        self.groups.extend(ages_ms.keys().cloned());
    }
}

/// Queue-wide counts, as they are served by every process.
fn set_counts(stats: &Stats) {
    telemetry::backlog(stats.backlog());
    telemetry::inbox(stats.inbox);
    for (state, count) in [
        ("waiting", stats.waiting),
        ("unconfirmed", stats.unconfirmed),
        ("polling", stats.polling),
        ("leased", stats.leased),
    ] {
        telemetry::jobs(state, count);
    }
    telemetry::unconfirmed(stats.unconfirmed);
    telemetry::workers(stats.workers);
    telemetry::oldest_due(Stage::Submit, Duration::from_millis(stats.oldest_submit_ms));
    telemetry::oldest_due(Stage::Poll, Duration::from_millis(stats.oldest_poll_ms));
    for (stage, view) in stats.stages.iter() {
        // A reason is words of the API: its state is label enough.
        for state in StageState::CLOSED {
            telemetry::stage_closed(stage, state.as_str(), view.state == state);
        }
        let again_at = Duration::from_millis(view.next_probe.unwrap_or_default());
        telemetry::stage_next_probe(stage, again_at);
    }
    // A pause holds submits back and lets videos be followed.
    telemetry::stage_closed(Stage::Submit, "paused", stats.paused.is_some());
}
