//! What is wrong with some never stops or pays for the others (docs/contract.md, section 7): sick
//! jobs, pairs, transactions and workers, outages, and answers that are odd but good.
//!
//! - `refused`: jobs that the API refuses, before others and between them, and a wrong key.
//! - `checks`: transactions whose status checks fail, while those of others do not.
//! - `moments`: what an answer of the moment, or a pause, must not end.
//! - `outages`: an API, or a gateway in front of it, that fails for a while.
//! - `odd`: good answers that are written oddly, and good ones that never arrive.
//! - `alone`: one sick worker beside a well one, and a whole fleet without an API.
//! - `front`: what stands between a worker and the sandbox.
//!
//! Each test prints what it measured; `--nocapture` shows it.

mod alone;
mod checks;
mod front;
mod moments;
mod odd;
mod outages;
mod refused;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use reelq::queue::{JobResult, ResultReader};
use reelq::sandbox::{self, Endpoint, FaultRule};
use tokio::time::{Instant, interval};

use super::support::processes::{Site, body, faultless, until};

/// Long enough for whatever has no bound of its own.
const PATIENCE: Duration = Duration::from_secs(90);
/// Time between two jobs of those that are put on meanwhile.
const FED_EVERY: Duration = Duration::from_millis(100);

/// The waits under which the figures hold: short, so that a test sees many of them.
const SHORT_WAITS: [(&str, &str); 7] = [
    ("REELQ_API__REQUEST_TIMEOUT", "2s"),
    ("REELQ_SUBMIT__BACKOFF_INITIAL", "200ms"),
    ("REELQ_SUBMIT__BACKOFF_MAX", "2s"),
    ("REELQ_SUBMIT__REFUSED_GRACE", "2s"),
    ("REELQ_POLL__FIRST", "300ms"),
    ("REELQ_POLL__MAX", "2s"),
    ("REELQ_POLL__NOT_FOUND_GRACE", "2s"),
];

/// Without faults, as far away as an API is, and quick for one that makes videos.
fn quick() -> sandbox::Options {
    sandbox::Options {
        latency: Duration::from_millis(20),
        ready_after: Duration::from_millis(500),
        ..faultless()
    }
}

/// A site with short waits, whose sandbox follows these rules.
async fn site(rules: &[&str]) -> Site {
    let site = Site::new(sandbox::Options { faults: parsed(rules), ..quick() }).await;
    with(site, &SHORT_WAITS)
}

fn with(site: Site, settings: &[(&str, &str)]) -> Site {
    settings.iter().fold(site, |site, (variable, value)| site.with(variable, value))
}

fn parsed(rules: &[&str]) -> Vec<FaultRule> {
    rules.iter().map(|rule| rule.parse().expect(rule)).collect()
}

/// From now on the sandbox follows these rules.
fn rule(site: &Site, rules: &[&str]) {
    site.sandbox.set(|options| options.faults = parsed(rules));
}

/// Says what was measured, for whoever asks with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the harness keeps it unless it is asked for")]
fn measured(line: &str) {
    println!("measured: {line}");
}

/// Jobs that differ in their number, and may differ in their template.
#[derive(Clone, Copy)]
struct Group {
    /// What their ids begin with.
    prefix: &'static str,
    count: usize,
    template: &'static str,
    /// So many templates take turns.
    templates: usize,
    customer: &'static str,
}

impl Group {
    const fn new(prefix: &'static str, count: usize) -> Self {
        Self { prefix, count, template: "birthday", templates: 1, customer: "acme" }
    }

    /// The same jobs of so many templates, none of which another group has.
    const fn of_templates(self, templates: usize) -> Self {
        Self { template: self.prefix, templates, ..self }
    }

    /// The same jobs of this customer.
    const fn of_customer(self, customer: &'static str) -> Self {
        Self { customer, ..self }
    }

    fn id(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    fn ids(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|number| self.id(number))
    }

    fn body(&self, number: usize) -> String {
        let template = match self.templates {
            1 => self.template.to_owned(),
            many => format!("{}-{}", self.template, number % many),
        };
        body(&self.id(number)).replace("birthday", &template).replace("acme", self.customer)
    }

    fn bodies(&self) -> impl Iterator<Item = String> {
        (0..self.count).map(|number| self.body(number))
    }
}

/// Puts jobs on the inbox, in this order.
async fn put(site: &Site, bodies: impl IntoIterator<Item = String>) {
    let bodies: Vec<String> = bodies.into_iter().collect();
    for some in bodies.chunks(500) {
        let mut entries = redis::pipe();
        for body in some {
            entries.cmd("XADD").arg(&["reelq:{video}:jobs", "*", "job", body]).ignore();
        }
        let () = entries.query_async(&mut site.queue.raw.clone()).await.unwrap();
    }
}

/// Puts these jobs on, one every so often, until the other future is ready; how many it were.
async fn feeding<T>(site: &Site, fed: Group, meanwhile: impl Future<Output = T>) -> (Group, T) {
    let mut count = 0;
    let feed = async {
        let mut turn = interval(FED_EVERY);
        for number in 0.. {
            turn.tick().await;
            put(site, [fed.body(number)]).await;
            count = number + 1;
        }
    };
    let ready = tokio::select! {
        ready = meanwhile => ready,
        () = feed => unreachable!("the numbers never end"),
    };
    (Group { count, ..fed }, ready)
}

/// The results so far, and the time since somebody began to read them.
struct Ends {
    reader: ResultReader,
    by_id: BTreeMap<String, JobResult>,
    began: Instant,
}

impl Ends {
    /// Begins to read; the clock of every bound starts here.
    fn of(site: &Site) -> Self {
        let reader = site.queue.queue.results_after("0");
        Self { reader, by_id: BTreeMap::new(), began: Instant::now() }
    }

    /// Starts the clock anew.
    fn restart(&mut self) {
        self.began = Instant::now();
    }

    /// Reads until all these jobs have ended; after which time that was.
    async fn reach(&mut self, group: &Group, within: Duration) -> Duration {
        loop {
            let missing = group.ids().filter(|id| !self.by_id.contains_key(id)).count();
            if missing == 0 {
                return self.began.elapsed();
            }
            let (name, count) = (group.prefix, group.count);
            assert!(
                self.began.elapsed() < within,
                "{missing} of {count} {name} jobs have not ended within {within:?}"
            );
            for result in self.reader.read(1000, Duration::from_millis(100)).await.unwrap() {
                let id = result.get("client-request-id").unwrap().to_owned();
                let again = self.by_id.insert(id, result);
                assert!(again.is_none(), "it ended twice: {again:?}");
            }
        }
    }

    fn of_group(&self, group: &Group) -> Vec<&JobResult> {
        group.ids().map(|id| &self.by_id[&id]).collect()
    }

    /// All these jobs have their video after so many POSTs, by their results and as the API has seen
    /// it, and none was paid twice.
    fn all_completed(&self, site: &Site, group: &Group, posts: RangeInclusive<u64>) {
        for (id, result) in group.ids().zip(self.of_group(group)) {
            assert_eq!(result.status(), "completed", "{result:?}");
            let (counted, seen) = (result.get("posts").unwrap(), site.sandbox.posts_of(&id));
            assert!(posts.contains(&counted.parse().unwrap()), "{result:?}");
            assert!(seen <= *posts.end(), "{id} came to the API {seen} times");
            assert_eq!(site.sandbox.accepted_of(&id), 1, "{id} was paid once");
        }
    }

    /// All these jobs failed for this reason.
    fn all_failed(&self, group: &Group, code: &str) {
        for result in self.of_group(group) {
            assert_eq!(result.status(), "failed", "{result:?}");
            let error = result.get("error").unwrap();
            assert!(error.starts_with(&format!("{code}: ")), "{error}");
        }
    }
}

/// All calls of the API, for tokens too.
fn all_calls(site: &Site) -> u64 {
    let stats = site.sandbox.stats();
    let endpoints = [Endpoint::Token, Endpoint::Submit, Endpoint::Status, Endpoint::Other];
    endpoints.into_iter().map(|endpoint| stats.calls_to(endpoint)).sum()
}

/// The most POSTs of any of these jobs that came to the API.
fn most_posts(site: &Site, group: &Group) -> u64 {
    group.ids().map(|id| site.sandbox.posts_of(&id)).max().unwrap_or(0)
}

/// Waits until the API has accepted so many jobs, as Redis knows it.
async fn accepted(site: &Site, count: usize) {
    let enough = async || site.counter("submitted").await >= count as u64;
    until(&format!("{count} accepted jobs"), PATIENCE, enough).await;
}

/// Has the worker fetch its token and end one job, while the API is well.
async fn begin_well(site: &Site, ends: &mut Ends) {
    let first = Group::new("first", 1);
    put(site, first.bodies()).await;
    ends.reach(&first, PATIENCE).await;
    ends.restart();
}
