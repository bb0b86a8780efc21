//! The bare caller: the same HTTP calls with in-memory timers and no queue. What a queue costs is
//! measured against it.
//!
//! The bench runs it as a process of its own, so that its CPU time can be told from all other. It has
//! the client options, the pool sizes and the numbers of calls in flight of a worker, reads each answer
//! as a worker does, and keeps every URL; it checks nothing, retries nothing and survives nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response};
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};

/// Calls in flight, and connections kept: `submit.concurrency` and `poll.concurrency`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct InFlight {
    #[arg(long = "posts", default_value_t = InFlight::DEFAULT.posts)]
    pub(crate) posts: usize,
    #[arg(long = "gets", default_value_t = InFlight::DEFAULT.gets)]
    pub(crate) gets: usize,
}

impl InFlight {
    /// As a worker with default settings has them.
    pub(crate) const DEFAULT: Self = Self { posts: 32, gets: 64 };
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Accepted {
    #[serde(rename = "whilter-request-id")]
    transaction: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(rename = "video-url")]
    video_url: Option<String>,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Caller {
    api: Arc<str>,
    posts: Client,
    gets: Client,
    in_flight: InFlight,
    bearer: Arc<str>,
}

impl Caller {
    /// A caller that has a token.
    pub(crate) async fn new(api: &str, in_flight: InFlight) -> anyhow::Result<Self> {
        let client = |idle, idle_timeout| {
            let _ = rustls::crypto::ring::default_provider().install_default();
            Client::builder()
                .user_agent("bare")
                .http1_only()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .tcp_nodelay(true)
                .connect_timeout(Duration::from_secs(5))
                .timeout(Duration::from_secs(30))
                .pool_max_idle_per_host(idle)
                .pool_idle_timeout(Duration::from_secs(idle_timeout))
                .no_proxy()
                .build()
        };
        let (posts, gets) = (client(in_flight.posts, 2)?, client(in_flight.gets, 60)?);
        let login = [
            ("clientId", reelq::sandbox::CLIENT_ID),
            ("clientSecret", reelq::sandbox::CLIENT_SECRET),
        ];
        let url = reqwest::Url::parse_with_params(&format!("{api}/getToken"), login)?;
        let token: Token = serde_json::from_slice(&gets.get(url).send().await?.bytes().await?)?;
        let bearer = format!("Bearer {}", token.access_token).into();
        Ok(Self { api: api.into(), posts, gets, in_flight, bearer })
    }

    /// Submits each body, asks for its video once after the delay, and returns the URLs by id.
    pub(crate) async fn make(
        self,
        bodies: Vec<(String, String)>,
        delay: Duration,
    ) -> anyhow::Result<HashMap<String, String>> {
        let InFlight { posts, gets } = self.in_flight;
        let (posting, checking) = (Arc::new(Semaphore::new(posts)), Arc::new(Semaphore::new(gets)));
        let (done, mut ready) = mpsc::channel(gets);
        let count = bodies.len();
        tokio::spawn(async move {
            for (id, body) in bodies {
                let permit = Arc::clone(&posting).acquire_owned().await.expect("never closed");
                let (caller, checking, done) = (self.clone(), Arc::clone(&checking), done.clone());
                tokio::spawn(async move {
                    let accepted = caller.post(body).await;
                    drop(permit);
                    let url = match accepted {
                        Ok(transaction) => {
                            tokio::time::sleep(delay).await;
                            let _permit = checking.acquire().await.expect("never closed");
                            caller.check(&transaction).await
                        }
                        Err(error) => Err(error),
                    };
                    let _ = done.send((id, url)).await;
                });
            }
        });
        let mut urls = HashMap::with_capacity(count);
        while let Some((id, url)) = ready.recv().await {
            urls.insert(id, url?);
        }
        Ok(urls)
    }

    async fn post(&self, body: String) -> anyhow::Result<String> {
        let request = self.posts.post(format!("{}/video/demo", self.api));
        let request = request.header("content-type", "application/json").body(body);
        let accepted: Accepted = self.answer(request).await?;
        Ok(accepted.transaction)
    }

    async fn check(&self, transaction: &str) -> anyhow::Result<String> {
        let request = self.gets.get(format!("{}/status/{transaction}", self.api));
        let status: Status = self.answer(request).await?;
        status.video_url.ok_or_else(|| anyhow::anyhow!("not ready after the delay"))
    }

    async fn answer<T: serde::de::DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> anyhow::Result<T> {
        let request = request
            .header("authorization", &*self.bearer)
            .header("x-api-key", reelq::sandbox::API_KEY);
        let response: Response = request.send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    }
}
