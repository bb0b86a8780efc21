//! `reelq demo`: the whole thing at work on this machine, and gone again at its end.
//!
//! A private Redis, the sandbox in this process, three worker processes and a gateway process. Of 60
//! jobs two in three come onto the stream in Redis, the others over HTTP; one submit in ten fails.
//! The sandbox pushes finished videos to the gateway, and loses some pushes: polls find those
//! videos. One worker is killed on the way, with POSTs in its hands. It ends when every job has its
//! result, shows them, and says by which way each job and each URL came; it fails when that is not
//! as it should be.
//!
//! `scene` is what is started (each child by `process`, `gateway` with its calls), `jobs` what is
//! brought, `report` what is shown and verified.

mod gateway;
mod jobs;
mod process;
mod report;
mod scene;

use std::time::Duration;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, timeout};

use self::jobs::{Job, Way};
use self::report::{Results, Totals, table, verify};
use self::scene::Scene;
use super::command::Outcome;
use super::service::interrupted;
use crate::job::{EntryFields, Request};

const JOBS: usize = 60;
/// One worker is killed when so many jobs have been accepted by the API.
const KILL_AT: u64 = 12;
/// The demo gives up then.
const LIMIT: Duration = Duration::from_secs(58);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Keep everything running at the end, to look into the queue, until interrupted
    #[arg(long)]
    keep: bool,
    /// The command line of a Redis or Valkey server; else redis-server or valkey-server
    #[arg(long, env = "REELQ_REDIS_SERVER", value_name = "COMMAND")]
    redis_server: Option<String>,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Outcome> {
    let mut scene = tokio::select! {
        scene = Scene::set(options.redis_server.as_deref()) => scene?,
        () = interrupted() => return Ok(Outcome::SomeFailed),
    };
    let ended = tokio::select! {
        played = timeout(LIMIT, play(&mut scene)) => {
            played.context("the demo took too long").flatten()
        }
        () = interrupted() => {
            eprintln!("interrupted: cleaning up");
            scene.strike().await?;
            return Ok(Outcome::SomeFailed);
        }
    };
    if options.keep && ended.is_ok() {
        tell_what_to_try(&scene)?;
        interrupted().await;
    }
    let struck = scene.strike().await;
    ended.and_then(|outcome| struck.map(|()| outcome))
}

/// Brings the jobs and follows them to their ends.
async fn play(scene: &mut Scene) -> anyhow::Result<Outcome> {
    let began = Instant::now();
    let jobs: Vec<Job> = (1..=JOBS).map(Job::new).collect();
    let of = |way| jobs.iter().filter(move |job| job.way == way);
    let by_redis: Vec<(Request, EntryFields)> =
        of(Way::Redis).map(|job| (job.request.clone(), EntryFields::default())).collect();
    scene.queue.enqueue_many(&by_redis).await?;
    for job in of(Way::Http) {
        scene.gateway.enqueue(&job.request).await?;
    }
    let by_http = JOBS - by_redis.len();
    println!("{} jobs came through Redis, {by_http} over HTTP.", by_redis.len());
    let results = follow(scene).await?;
    let took = began.elapsed().as_secs_f64();
    println!("{}", table(&jobs, &results));
    let totals = Totals::of(&results);
    let Totals { videos, by_push, by_poll, .. } = totals;
    println!("{JOBS} jobs, {} results, {videos} videos, in {took:.0} s.", totals.results);
    println!("{by_push} URLs came by a push (source webhook), {by_poll} by a poll.");
    verify(&jobs, &results)?;
    for job in of(Way::Http) {
        let id = job.id();
        let shown = scene.gateway.result(id).await?;
        let is_known =
            results[id.as_str()].iter().any(|it| shown["result"] == it.entry_id.as_str());
        ensure!(is_known, "{id}: the gateway shows {shown}");
    }
    println!(
        "Every job ended exactly once; the gateway shows the same of the {by_http} that came over \
         HTTP."
    );
    tell_of_redis(scene.redis.port());
    Ok(if videos == JOBS { Outcome::Success } else { Outcome::SomeFailed })
}

/// Reads results until every job has one, and kills a worker meanwhile.
async fn follow(scene: &mut Scene) -> anyhow::Result<Results> {
    let progress = bar();
    let mut results = Results::new();
    let mut reader = scene.queue.results_after("0");
    let mut killed = false;
    while results.len() < JOBS {
        for result in reader.read(JOBS, Duration::from_millis(100)).await? {
            let id = result.get("client-request-id").unwrap_or_default().to_owned();
            results.entry(id).or_default().push(result);
        }
        let stats = scene.queue.stats().await?;
        let submitted = stats.counters.get("submitted").copied().unwrap_or(0);
        progress.set_position(u64::try_from(results.len())?);
        progress.set_message(format!(
            "waiting {} unconfirmed {} polling {} in hand {}",
            stats.waiting, stats.unconfirmed, stats.polling, stats.leased
        ));
        if !killed && submitted >= KILL_AT {
            killed = true;
            scene.workers[0].kill().await?;
            progress.suspend(|| println!("Killed one worker; {submitted} jobs accepted so far."));
        }
    }
    progress.finish_and_clear();
    ensure!(killed, "all jobs ended before a worker was killed");
    Ok(results)
}

fn tell_of_redis(port: u16) {
    println!("To look into such a queue (--keep keeps this one):");
    for command in [
        "XLEN 'reelq:{video}:results'",
        "XRANGE 'reelq:{video}:results' - + COUNT 1",
        "HGETALL 'reelq:{video}:job:demo-01'",
        "ZRANGE 'reelq:{video}:poll' 0 -1 WITHSCORES",
        "HGETALL 'reelq:{video}:counters'",
    ] {
        println!("  redis-cli -p {port} {command}");
    }
}

/// What there is to try while everything keeps running.
fn tell_what_to_try(scene: &Scene) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("finding this program")?;
    println!("\nEverything keeps running until you press Ctrl-C. Try:");
    println!("  {} --config {} stats", program.display(), scene.configuration.display());
    let another = String::from_utf8_lossy(Job::new(JOBS + 1).request.body()).into_owned();
    println!("or the gateway, on {}:", scene.gateway.address());
    println!("  curl -d '{another}' '{}?wait=30s'", scene.gateway.jobs_url());
    Ok(())
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} ended; {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(u64::try_from(JOBS).unwrap_or(0)).with_style(style)
}
