//! Worker processes: the real binary, started, stopped and killed.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reelq::config::{Settings, Source};
use reelq::sandbox::{self, Sandbox};
use reelq::setup;
use reelq::worker::{Watchdog, Worker};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{Instant, timeout};

use super::TestQueue;

/// A queue, a sandbox, and the configuration by which processes find both.
pub(crate) struct Site {
    pub(crate) queue: TestQueue,
    pub(crate) sandbox: Sandbox,
    configuration: PathBuf,
    directory: TempDir,
    environment: Vec<(String, String)>,
}

/// A sandbox that makes no faults and is done at once.
pub(crate) fn faultless() -> sandbox::Options {
    sandbox::Options {
        listen: ([127, 0, 0, 1], 0).into(),
        ready_after: Duration::ZERO,
        latency: Duration::ZERO,
        error_rate: 0.0,
        seed: Some(7),
        ..sandbox::Options::default()
    }
}

impl Site {
    pub(crate) async fn new(options: sandbox::Options) -> Self {
        Self::on(TestQueue::start().await, options).await
    }

    pub(crate) async fn on(queue: TestQueue, options: sandbox::Options) -> Self {
        let sandbox = sandbox::start(options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("reelq.toml");
        let text = format!(
            "[redis]\nurl = \"{}\"\n[api]\nbase_url = \"http://{}\"\nclient_id = \"{}\"\n\
             client_secret = \"{}\"\napi_key = \"{}\"\n[http]\nlisten = \"\"\n\
             [poll]\nfirst = \"100ms\"\n",
            queue.url,
            sandbox.addr(),
            sandbox::CLIENT_ID,
            sandbox::CLIENT_SECRET,
            sandbox::API_KEY,
        );
        std::fs::write(&configuration, text).unwrap();
        Self { queue, sandbox, configuration, directory, environment: Vec::new() }
    }

    /// Sets one more setting, by its environment variable.
    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// The same with another server, which its processes use from then on.
    pub(crate) fn moved_to(mut self, queue: TestQueue) -> Self {
        self.environment.push(("REELQ_REDIS__URL".to_owned(), queue.url.clone()));
        self.queue = queue;
        self
    }

    /// Lets its one worker serve health and metrics; returns where.
    pub(crate) async fn serving(self) -> (Self, Http) {
        let port = reelq::cli::private_redis::free_port().await.unwrap();
        let address = format!("127.0.0.1:{port}");
        (self.with("REELQ_HTTP__LISTEN", &address), Http(address))
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reelq"));
        command.env_clear().arg("--config").arg(&self.configuration).args(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.directory()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts a worker. What it logs goes to the test's own standard error.
    pub(crate) fn worker(&self) -> WorkerProcess {
        self.process(&["worker"], &[])
    }

    /// Starts a process with further settings. What it logs goes to the test's own standard error.
    pub(crate) fn process(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> WorkerProcess {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        WorkerProcess { child }
    }

    /// Starts a worker in this process, under the same configuration.
    pub(crate) async fn worker_in_process(&self) -> Worker {
        let text = std::fs::read_to_string(&self.configuration).unwrap();
        let file = Some((self.configuration.clone(), text));
        let source = Source { file, environment: self.environment.clone() };
        let loaded = Settings::from_source(source).unwrap();
        let queue = self.queue.queue.with_rules(setup::rules(&loaded.settings));
        Worker::start(&loaded.settings, loaded.api().unwrap(), queue, Watchdog::default()).unwrap()
    }

    /// Starts a worker; the lines that it logs are the caller's to read.
    pub(crate) fn worker_with_log(&self) -> (WorkerProcess, Lines<BufReader<ChildStderr>>) {
        let mut child = self.command(&["worker"]).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        (WorkerProcess { child }, log)
    }

    /// Starts a gateway on a free port and waits until it serves.
    pub(crate) async fn gateway(&self) -> GatewayProcess {
        let mut command = self.command(&["gateway"]);
        if !self.environment.iter().any(|(name, _)| name == "REELQ_GATEWAY__LISTEN") {
            command.env("REELQ_GATEWAY__LISTEN", "127.0.0.1:0");
        }
        let mut child =
            command.env("REELQ_LOG__FILTER", "debug").stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (log, mut address) = (Arc::<Mutex<String>>::default(), None);
        while address.is_none() {
            let line = lines.next_line().await.unwrap().expect("a gateway that serves");
            let said: serde_json::Value = serde_json::from_str(&line).unwrap();
            address = said["fields"]["gateway.address"].as_str().map(str::to_owned);
        }
        let writer = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = writer.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        GatewayProcess { process: WorkerProcess { child }, http: Http(address.unwrap()), log }
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, b"").await
    }

    /// Runs a command with one more setting.
    pub(crate) async fn run_with(&self, arguments: &[&str], variable: &str, value: &str) -> Output {
        Self::run_to_its_end(self.command(arguments).env(variable, value), b"").await
    }

    /// Runs a command with this standard input.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Output {
        Self::run_to_its_end(&mut self.command(arguments), input).await
    }

    /// Runs a command as another user of Redis.
    pub(crate) async fn run_as(&self, redis_url: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        Self::run_to_its_end(command.env("REELQ_REDIS__URL", redis_url), input).await
    }

    async fn run_to_its_end(command: &mut Command, input: &[u8]) -> Output {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing closes its end early.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap()
    }

    /// Puts a request on the inbox stream as redis-cli would.
    pub(crate) async fn xadd(&self, body: &str) -> String {
        self.queue.command(&["XADD", "reelq:{video}:jobs", "*", "job", body]).await
    }

    pub(crate) async fn results(&self) -> usize {
        self.queue.command(&["XLEN", "reelq:{video}:results"]).await
    }

    pub(crate) async fn counter(&self, name: &str) -> u64 {
        let total: Option<u64> =
            self.queue.command(&["HGET", "reelq:{video}:counters", name]).await;
        total.unwrap_or(0)
    }

    /// Waits until somebody waits for results.
    pub(crate) async fn results_are_awaited(&self) {
        until("somebody to wait", Duration::from_secs(20), async || {
            let clients: String = self.queue.command(&["CLIENT", "LIST"]).await;
            clients.contains("cmd=xread ")
        })
        .await;
    }

    /// Waits until there are so many results.
    pub(crate) async fn results_reach(&self, count: usize, within: Duration) {
        until(&format!("{count} results"), within, async || self.results().await >= count).await;
    }

    /// Every result's status by id, in order of the stream.
    pub(crate) async fn ends(&self) -> Vec<(String, String)> {
        let mut reader = self.queue.queue.results_after("0");
        let mut ends = Vec::new();
        loop {
            let results = reader.read(1000, Duration::from_millis(1)).await.unwrap();
            if results.is_empty() {
                return ends;
            }
            ends.extend(results.iter().map(|result| {
                let id = result.get("client-request-id").unwrap_or_default();
                (id.to_owned(), result.status().to_owned())
            }));
        }
    }
}

/// A worker process; dropping it kills it.
pub(crate) struct WorkerProcess {
    child: Child,
}

impl WorkerProcess {
    /// SIGKILL.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM; returns the exit code.
    pub(crate) async fn stop(self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.ended().await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap()
    }

    /// Returns the exit code when it has ended.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        timeout(Duration::from_secs(60), self.child.wait()).await.unwrap().unwrap().code()
    }
}

/// A gateway process; dropping it kills it.
pub(crate) struct GatewayProcess {
    process: WorkerProcess,
    pub(crate) http: Http,
    log: Arc<Mutex<String>>,
}

impl GatewayProcess {
    /// What it has logged since it serves, debug included, a JSON object a line.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The number of its process.
    pub(crate) fn process_id(&self) -> Pid {
        self.process.id()
    }

    /// SIGTERM; returns the exit code.
    pub(crate) async fn stop(self) -> Option<i32> {
        self.process.stop().await
    }

    /// Returns the exit code when it has ended.
    pub(crate) async fn ended(self) -> Option<i32> {
        self.process.ended().await
    }
}

/// What a worker that has ended said at error level: the fields of each line.
pub(crate) async fn errors(mut log: Lines<BufReader<ChildStderr>>) -> Vec<serde_json::Value> {
    let mut errors = Vec::new();
    while let Some(line) = log.next_line().await.unwrap() {
        let mut line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["level"] == "ERROR" {
            errors.push(line["fields"].take());
        }
    }
    errors
}

/// Where a process serves.
pub(crate) struct Http(pub(crate) String);

impl Http {
    /// The code and the JSON of an answer to a request with this body.
    pub(crate) async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> (u16, serde_json::Value) {
        self.send_with(method, path, body, &[]).await
    }

    /// The same with these headers.
    pub(crate) async fn send_with(
        &self,
        method: reqwest::Method,
        path: &str,
        body: impl Into<reqwest::Body>,
        headers: &[(&str, &str)],
    ) -> (u16, serde_json::Value) {
        let request = reqwest::Client::new().request(method, format!("http://{}{path}", self.0));
        let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
        let answer = request.body(body).send().await.expect("a gateway that serves");
        let (code, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        (code, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
    }

    /// The code and the text of an answer.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).await.expect("a worker that serves")
    }

    /// Likewise; `None`: it does not serve yet.
    pub(crate) async fn try_get(&self, path: &str) -> Option<(u16, String)> {
        let answer = reqwest::get(format!("http://{}{path}", self.0)).await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }
}

/// A small valid body.
pub(crate) fn body(id: &str) -> String {
    format!(
        r#"{{"client-request-id":"{id}","customer-id":"acme","use-case-id":"birthday","user-id":"ann","phrase-texts":["Hello"]}}"#
    )
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, within: Duration, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + within;
    let mut look = tokio::time::interval(Duration::from_millis(10));
    while !condition().await {
        assert!(Instant::now() < deadline, "waited {within:?} in vain for {what}");
        look.tick().await;
    }
}
