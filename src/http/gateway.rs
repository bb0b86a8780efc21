//! The gateway: its routes, and the tasks that it consists of.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::access::{Access, PushAccess};
use super::admissions::Admissions;
use super::failure::{Failure, REDIS_WITHIN};
use super::server::{connections_allowed, serve, serve_meanwhile};
use super::shared::Gateway;
use super::{jobs, log, openapi, push, results};
use crate::config::Settings;
use crate::queue::{QueueError, RuledQueue, Waiters};
use crate::telemetry;
use crate::worker::{RoleEnded, Supervisor, Watchdog};

/// How often Redis is asked how the queue is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// A running gateway.
#[derive(Debug)]
pub struct RunningGateway {
    /// Ends when it is told to stop and the answers in hand are given.
    serving: Supervisor,
    /// What the routes need to the very end.
    lasting: Supervisor,
    watchdog: Watchdog,
    stopping: watch::Sender<bool>,
    address: SocketAddr,
}

impl RunningGateway {
    /// Begins to serve on this listener, on the runtime that it is called on.
    #[must_use]
    pub fn start(
        settings: &Settings,
        queue: RuledQueue,
        listener: TcpListener,
        watchdog: Watchdog,
    ) -> Self {
        let address = listener.local_addr().unwrap_or(settings.gateway.listen);
        let stopping = watch::Sender::new(false);
        let (admissions, admitting) = Admissions::new((*queue).clone());
        let waiters = Waiters::new((*queue).clone(), REDIS_WITHIN);
        let (keys, webhook) = (settings.gateway.api_keys.clone(), &settings.webhook);
        let gateway = Arc::new(Gateway {
            queue: queue.clone(),
            admissions,
            waiters: waiters.clone(),
            access: Access::new(keys, address.ip()),
            push_access: PushAccess::new(webhook.secret.clone(), webhook.allowed_ips.clone()),
            trust: webhook.trust,
            unknown_fields: settings.queue.unknown_fields,
            stopping: stopping.subscribe(),
        });
        if matches!(gateway.access, Access::Closed) {
            tracing::warn!(%address, "/v1 is not served: others can reach it, and gateway.api_keys are not set");
        }
        let connections = connections_allowed();
        tracing::info!(gateway.address = %address, connections, "serving jobs, results and pushes");
        let supervisor = || Supervisor::new(watchdog.clone(), stopping.clone());
        let (mut serving, mut lasting) = (supervisor(), supervisor());
        let loop_watch = watchdog.watch("waiters");
        lasting.spawn("waiters", waiters.run(move || loop_watch.turned()));
        lasting.spawn("admissions", admitting.run());
        lasting.spawn("look", look(queue, watchdog.clone()));
        let server = serve(listener, routes(gateway), connections, stopping.subscribe());
        serving.spawn("gateway", server);
        Self { serving, lasting, watchdog, stopping, address }
    }

    /// Where it is served.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it works.
    #[must_use]
    pub fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// Watches a task that serves this process. It is ended when the gateway has stopped.
    pub fn watch(&mut self, name: &'static str, task: JoinHandle<()>) {
        self.lasting.watch(name, task);
    }

    /// Serves until it is told to stop, or until one of its tasks ends early; then gives the answers
    /// in hand, those at once who wait for a job's end.
    ///
    /// # Errors
    /// The task that ended first although it was not told to.
    pub async fn run_until(mut self, told: impl Future<Output = ()>) -> Result<(), RoleEnded> {
        tokio::select! {
            () = told => {}
            () = self.watchdog.role_has_ended() => {}
        }
        tracing::info!("stopping: no new connections");
        self.watchdog.stopping();
        self.stopping.send_replace(true);
        // What takes longer is given up.
        let _ = timeout(STOPS_WITHIN, self.serving.ended()).await;
        self.serving.shutdown().await;
        self.lasting.shutdown().await;
        self.watchdog.ended().map_or(Ok(()), Err)
    }
}

fn routes(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route(
            "/v1/jobs",
            get(jobs::show_by_query).post(jobs::enqueue).delete(jobs::cancel_by_query),
        )
        .route("/v1/jobs/{id}", get(jobs::show).delete(jobs::cancel))
        .route("/v1/results", get(results::list))
        .route(
            "/video-push-endpoint",
            get(push::is_there).head(push::is_there_by_head).post(push::push),
        )
        .route("/openapi.json", get(openapi::describe))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing)
        .layer(from_fn(log::log))
        .with_state(gateway)
}

/// Answers on this listener that Redis is away, until it is dropped.
pub async fn answer_unavailable(listener: &TcpListener) -> Infallible {
    let unavailable = || async { Failure::of_absent_redis() };
    serve_meanwhile(listener, Router::new().fallback(unavailable).layer(from_fn(log::log))).await
}

async fn nothing() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "not-found", "nothing is served here: see /openapi.json")
}

async fn wrong_method() -> Failure {
    let message = "this path takes other methods: see /openapi.json";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", message)
}

/// Keeps the watchdog informed of Redis and of how the stages are.
async fn look(queue: RuledQueue, watchdog: Watchdog) {
    let loop_watch = watchdog.watch("look");
    loop {
        loop_watch.turned();
        let asked =
            async { Ok::<_, QueueError>((queue.stats().await?, queue.server_time().await?)) };
        // Not cut short, as requests are: only a call that waits for its whole time shows that a
        // connection has fallen silent and is to be replaced.
        match asked.await {
            Ok((stats, now)) => {
                watchdog.redis_answered(stats.paused.is_some());
                watchdog.stages_seen(stats.stages, now);
            }
            Err(error) => {
                watchdog.redis_away(&error);
                telemetry::redis_error(error.kind());
                tracing::warn!(%error, "Redis does not say how the queue is");
            }
        }
        sleep(LOOK_EVERY).await;
    }
}
