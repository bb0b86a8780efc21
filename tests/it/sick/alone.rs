//! One sick worker beside a well one, and a whole fleet without an API; all of them with the default
//! waits.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use reelq::cli::private_redis::free_port;
use reelq::sandbox;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tokio::time::sleep;

use super::super::support::processes::{Http, Site, WorkerProcess, until};
use super::super::support::skipped;
use super::front::Front;
use super::{Ends, Group, PATIENCE, begin_well, feeding, measured, put, quick, with};

const REELQ: &str = env!("CARGO_BIN_EXE_reelq");
/// No resolver knows it, by RFC 6761.
const NO_NAME: &str = "reelq-test.invalid";
/// In which a sick worker says so, and in which it is well after its cause's end.
const A_MINUTE: Duration = Duration::from_secs(60);

async fn default_waits() -> Site {
    // The sites of all tests look sooner.
    with(Site::new(quick()).await, &[("REELQ_POLL__FIRST", "1s")])
}

/// A worker that is sick, and what ends the cause.
struct Patient {
    worker: WorkerProcess,
    /// Whether it can be asked by HTTP how it is.
    serves: bool,
    /// What it returns is kept until the test's end; an error: why this cannot be done here.
    cure: BoxFuture<'static, Result<Option<Front>, String>>,
}

/// What a sick worker is given beside the site's settings: where it serves, and its sickness.
struct Ward<'a> {
    site: &'a Site,
    http: &'a Http,
}

impl Ward<'_> {
    fn worker(&self, sickness: &[(&str, &str)]) -> WorkerProcess {
        let listen = ("REELQ_HTTP__LISTEN", self.http.0.as_str());
        self.site.process(&["worker"], &[&[listen], sickness].concat())
    }

    /// A worker that a script starts, which is given the binary and its arguments.
    fn worker_by(&self, script: &str) -> WorkerProcess {
        let path = self.file("start");
        let listen = &self.http.0;
        let text = format!("#!/bin/sh\nexport REELQ_HTTP__LISTEN={listen}\n{script}\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        self.site.process_of(path.to_str().unwrap(), &["worker"])
    }

    fn file(&self, name: &str) -> PathBuf {
        self.site.directory().join(name)
    }

    /// A worker whose API is something else, until that lets calls through.
    async fn behind(&self, says: fn() -> (u16, String)) -> Patient {
        let steps_aside = Arc::new(AtomicBool::new(false));
        let aside = Arc::clone(&steps_aside);
        let says = move |_: &str| (!aside.load(Ordering::Relaxed)).then(says);
        let front = Front::start(0, self.site.sandbox.addr(), says).await;
        let address = format!("http://{}", front.addr());
        let worker = self.worker(&[("REELQ_API__BASE_URL", &address)]);
        let cure = async move {
            steps_aside.store(true, Ordering::Relaxed);
            Ok(Some(front))
        };
        Patient { worker, serves: true, cure: Box::pin(cure) }
    }
}

/// Its own table of hosts, if the system lets a test have one; names that it lacks are asked of a
/// resolver, which does not know this one either.
async fn without_names(ward: &Ward<'_>) -> Patient {
    let (hosts, is_ours) = (ward.file("hosts"), ward.file("hosts-are-ours"));
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let port = ward.site.sandbox.addr().port();
    let worker = ward.worker_by(&format!(
        "export REELQ_API__BASE_URL=http://{NO_NAME}:{port} REELQ_API__ALLOW_PLAIN_HTTP=true\n\
         unshare -rm true || exec {REELQ} \"$@\"\n\
         exec unshare -rm sh -c 'mount --bind {hosts} /etc/hosts && touch {is_ours}\n\
         exec \"$0\" \"$@\"' {REELQ} \"$@\"",
        hosts = hosts.display(),
        is_ours = is_ours.display(),
    ));
    let cure = async move {
        if !is_ours.exists() {
            return Err("no mount of one's own: no name comes back".to_owned());
        }
        std::fs::write(&hosts, format!("127.0.0.1 localhost {NO_NAME}\n")).unwrap();
        Ok(None)
    };
    Patient { worker, serves: true, cure: Box::pin(cure) }
}

async fn short_of_descriptors(ward: &Ward<'_>, descriptors: u8) -> Patient {
    let pid = ward.file("pid");
    let worker = ward.worker_by(&format!(
        "echo $$ > {}\nulimit -Sn {descriptors}\nexec {REELQ} \"$@\"",
        pid.display()
    ));
    let cure = async move {
        let process = Some(process_in(&pid));
        let most = getrlimit(Resource::Nofile).maximum;
        prlimit(process, Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
        Ok(None)
    };
    // It has no descriptor left for a caller either.
    Patient { worker, serves: false, cure: Box::pin(cure) }
}

fn process_in(file: &Path) -> Pid {
    let number = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    Pid::from_raw(number).unwrap()
}

/// Nothing listens at the proxy's port until it is mended. The name is the proxy's to resolve.
async fn behind_a_dead_proxy(ward: &Ward<'_>) -> Patient {
    let (port, sandbox) = (free_port().await.unwrap(), ward.site.sandbox.addr());
    let worker = ward.worker(&[
        ("HTTP_PROXY", &format!("http://127.0.0.1:{port}")),
        ("REELQ_API__BASE_URL", &format!("http://{NO_NAME}:{}", sandbox.port())),
        ("REELQ_API__ALLOW_PLAIN_HTTP", "true"),
    ]);
    let cure = async move { Ok(Some(Front::transparent(port, sandbox).await)) };
    Patient { worker, serves: true, cure: Box::pin(cure) }
}

async fn with_an_old_secret(ward: &Ward<'_>) -> Patient {
    let file = ward.file("client-secret");
    std::fs::write(&file, "that-of-last-year").unwrap();
    let worker = ward.worker(&[
        ("REELQ_API__CLIENT_SECRET", ""),
        ("REELQ_API__CLIENT_SECRET_FILE", file.to_str().unwrap()),
    ]);
    let cure = async move {
        std::fs::write(&file, sandbox::CLIENT_SECRET).unwrap();
        Ok(None)
    };
    Patient { worker, serves: true, cure: Box::pin(cure) }
}

/// What it says of itself, once it does: in the stats, and by HTTP if it `serves`.
async fn says_what_is_wrong(site: &Site, http: &Http, serves: bool) -> String {
    let ill = async || {
        let said = site.run(&["stats", "--json"]).await.stdout;
        let stats: serde_json::Value = serde_json::from_slice(&said).unwrap();
        let ill = stats["ill"].as_object().unwrap().values().next();
        ill.map(|why| why.as_str().unwrap().to_owned())
    };
    until("the sick one in stats", A_MINUTE, async || ill().await.is_some()).await;
    if !serves {
        return ill().await.unwrap();
    }
    let readyz = async || http.try_get("/readyz").await.unwrap_or_default();
    let words = "the API answers other workers and not this one: ";
    until("the sick one's /readyz", A_MINUTE, async || {
        let (code, said) = readyz().await;
        code == 503 && said.contains(words)
    })
    .await;
    let (_, said) = readyz().await;
    said.trim().to_owned()
}

/// Two hundred jobs by a well worker alone, then as many by it and a sick one; both begin together.
async fn beside_a_well_one(what: &str, sick: impl AsyncFn(&Ward<'_>) -> Patient) {
    let (alone, both) = (Group::new("alone", 200), Group::new("both", 200));
    let site = default_waits().await;
    let mut ends = Ends::of(&site);
    put(&site, alone.bodies()).await;
    let well = site.worker();
    let took_alone = ends.reach(&alone, PATIENCE).await;
    assert_eq!(well.stop().await, Some(0));

    let http = Http(format!("127.0.0.1:{}", free_port().await.unwrap()));
    put(&site, both.bodies()).await;
    ends.restart();
    let Patient { worker, serves, cure } = sick(&Ward { site: &site, http: &http }).await;
    let well = site.worker();
    let took = ends.reach(&both, 3 * took_alone).await;
    let says = says_what_is_wrong(&site, &http, serves);
    let (fed, said) = feeding(&site, Group::new("fed", 0), says).await;
    ends.reach(&fed, A_MINUTE + PATIENCE).await;
    let after = ends.began.elapsed();

    let cured = cure.await;
    ends.restart();
    let mut all = vec![both, fed];
    let well_again = match &cured {
        Ok(_) => {
            let is_well =
                async || http.try_get("/readyz").await.is_some_and(|(code, _)| code == 200);
            let well = until("the cured one to be well", A_MINUTE, is_well);
            let (fed, ()) = feeding(&site, Group::new("cured", 0), well).await;
            let took = ends.began.elapsed();
            ends.reach(&fed, A_MINUTE + PATIENCE).await;
            all.push(fed);
            format!("well {took:.1?} after its cause's end")
        }
        Err(why) => {
            skipped(&format!("the cure of a worker {what}: {why}"));
            "not cured".to_owned()
        }
    };
    for group in &all {
        ends.all_completed(&site, group, 1..=u64::MAX);
    }
    measured(&format!(
        "one of two workers {what}: 200 jobs after {took:.1?}, alone {took_alone:.1?}; it said within \
         {after:.1?} \"{said}\"; {well_again}"
    ));
    for worker in [worker, well] {
        assert_eq!(worker.stop().await, Some(0));
    }
}

#[tokio::test]
async fn a_worker_without_name_resolution_stops_nobody() {
    beside_a_well_one("without name resolution", without_names).await;
}

#[tokio::test]
async fn a_worker_with_18_descriptors_stops_nobody() {
    beside_a_well_one("with 18 descriptors", async |ward| short_of_descriptors(ward, 18).await)
        .await;
}

#[tokio::test]
async fn a_worker_behind_a_dead_proxy_stops_nobody() {
    beside_a_well_one("behind a dead proxy", behind_a_dead_proxy).await;
}

#[tokio::test]
async fn a_worker_with_an_old_secret_stops_nobody() {
    beside_a_well_one("with an old client_secret", with_an_old_secret).await;
}

#[tokio::test]
async fn a_worker_behind_a_captive_portal_stops_nobody() {
    let page = || (200, "<html><body>Please log in</body></html>".to_owned());
    beside_a_well_one("behind a captive portal", async |ward| ward.behind(page).await).await;
}

#[tokio::test]
async fn a_worker_whose_address_is_not_allowed_stops_nobody() {
    let forbidden = || (403, r#"{"message":"Forbidden"}"#.to_owned());
    beside_a_well_one("off the allow-list", async |ward| ward.behind(forbidden).await).await;
}

/// Every worker's API calls that have ended, as they count them themselves: whoever is refused a
/// connection is counted nowhere else.
async fn calls_of(workers: &[Http]) -> u64 {
    let mut calls = 0.0;
    for http in workers {
        let (_, metrics) = http.get("/metrics").await;
        let counts = metrics.lines().filter(|line| line.starts_with("reelq_api_requests_total{"));
        calls +=
            counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
    }
    format!("{calls:.0}").parse().unwrap()
}

/// Nobody listens where the API was. Each call is followed by a backoff of a second at least.
#[tokio::test]
async fn a_fleet_without_an_api_calls_seldom_and_fails_no_job() {
    const AWAY: Duration = Duration::from_secs(20);
    let jobs = Group::new("job", 50);
    let site = default_waits().await;
    let front = Front::transparent(0, site.sandbox.addr()).await;
    let (port, address) = (front.addr().port(), format!("http://{}", front.addr()));
    let site = site.with("REELQ_API__BASE_URL", &address);
    let mut listen = Vec::new();
    for _ in 0..2 {
        listen.push(Http(format!("127.0.0.1:{}", free_port().await.unwrap())));
    }
    let mut ends = Ends::of(&site);
    let start = |http: &Http| site.process(&["worker"], &[("REELQ_HTTP__LISTEN", &http.0)]);
    let workers: Vec<_> = listen.iter().map(start).collect();
    begin_well(&site, &mut ends).await;
    drop(front);
    let before = calls_of(&listen).await;
    put(&site, jobs.bodies()).await;
    sleep(AWAY).await;
    let calls = calls_of(&listen).await - before;
    let most = 2 * (AWAY.as_secs() + 1);
    assert!(calls <= most, "{calls} calls of two workers in {AWAY:?}");
    assert_eq!(site.results().await, 1, "none failed");
    let _front = Front::transparent(port, site.sandbox.addr()).await;
    ends.restart();
    let all = ends.reach(&jobs, Duration::from_secs(70)).await;
    ends.all_completed(&site, &jobs, 1..=u64::MAX);
    measured(&format!(
        "a fleet of two without an API for {AWAY:?}, 50 jobs: {calls} calls, all done {all:.1?} \
         after its return"
    ));
    for worker in workers {
        assert_eq!(worker.stop().await, Some(0));
    }
}
