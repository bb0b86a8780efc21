//! The demo's gateway process, and what a service that speaks HTTP does with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

use super::process::process;
use crate::cli::private_redis::{READY_WITHIN, TRIES, end, free_port};
use crate::job::{JobId, Request};

/// The longest that one call may take.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Gateway {
    child: Child,
    address: SocketAddr,
    client: Client,
}

impl Gateway {
    /// Starts it on a free port, and waits until it serves.
    pub(super) async fn start(configuration: &Path) -> anyhow::Result<Self> {
        // An error says that somebody installed it earlier.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().timeout(ANSWERS_WITHIN).build()?;
        // Somebody else may take a free port first; then the gateway ends.
        for _ in 0..TRIES {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().await?));
            let child = process(configuration, "gateway")?
                .env("REELQ_GATEWAY__LISTEN", address.to_string())
                .spawn()
                .context("starting the gateway")?;
            let mut gateway = Self { child, address, client: client.clone() };
            if gateway.serves().await? {
                return Ok(gateway);
            }
        }
        bail!("the gateway does not start")
    }

    /// Waits until it serves; false: it has ended, or does not serve in time.
    async fn serves(&mut self) -> std::io::Result<bool> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline && self.child.try_wait()?.is_none() {
            let answer = self.client.get(self.push_url()).send().await;
            if answer.is_ok_and(|it| it.status() == StatusCode::OK) {
                return Ok(true);
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(false)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the API pushes to.
    pub(super) fn push_url(&self) -> String {
        format!("http://{}/video-push-endpoint", self.address)
    }

    /// Where jobs are taken and shown.
    pub(super) fn jobs_url(&self) -> String {
        format!("http://{}/v1/jobs", self.address)
    }

    /// Brings a job.
    pub(super) async fn enqueue(&self, request: &Request) -> anyhow::Result<()> {
        let call = self.client.post(self.jobs_url()).body(request.body().to_vec());
        let answer = json(StatusCode::ACCEPTED, call.send().await?).await?;
        ensure!(answer["status"] == "accepted", "POST /v1/jobs answered {answer}");
        Ok(())
    }

    /// The result of a job that has ended.
    pub(super) async fn result(&self, id: &JobId) -> anyhow::Result<Value> {
        let call = self.client.get(format!("{}/{id}?wait=1s", self.jobs_url()));
        json(StatusCode::OK, call.send().await?).await
    }

    /// Ends it and waits until it is gone.
    pub(super) async fn stop(mut self) -> std::io::Result<()> {
        end(&mut self.child).await
    }
}

/// An answer's JSON, if it has this status.
async fn json(status: StatusCode, answer: Response) -> anyhow::Result<Value> {
    let (given, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await?;
    ensure!(given == status, "{url} answered {given}: {text}");
    serde_json::from_str(&text).with_context(|| format!("{url} answered no JSON: {text}"))
}
