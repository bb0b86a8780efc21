//! Where Redis's time goes: the server's own microseconds per job of each script of a life, with
//! what the script's inner commands take of it, at two batch sizes. Nothing else runs meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use reelq::job::{Claim, EntryFields, JobId, Request, UnknownFields};
use reelq::queue::{Claimant, End, Move, RuledQueue, Rules, Settlement, Source};

use super::site::Store;

const JOBS: usize = 20_000;
const BATCHES: [usize; 2] = [10, 64];
const HOUR: Duration = Duration::from_secs(3600);
const WORKER: &str = "host/0.1.0/bench";
/// Long enough that nothing ends by time.
const RULES: Rules = Rules {
    lease: HOUR,
    completed_retention: HOUR,
    failed_retention: HOUR,
    results_retention: HOUR,
    results_max_age: HOUR,
    max_age: HOUR,
    unconfirmed_grace: HOUR,
    max_unconfirmed: 2,
    refused_grace: HOUR,
    backoff_max: HOUR,
    poll_max: HOUR,
};

type Held = Vec<(JobId, Claim)>;

/// Measures and prints.
pub(crate) async fn run(redis_server: Option<&str>) -> anyhow::Result<()> {
    for batch in BATCHES {
        println!("microseconds per job, {batch} jobs a call:");
        let store = Store::start(redis_server).await?;
        let queue = store.queue.with_rules(RULES);
        let mut costs = Costs::default();
        costs.lap(&store, "").await?;
        enqueue(&queue, batch).await?;
        costs.lap(&store, "admit").await?;
        let held = claim(&queue, batch, true).await?;
        costs.lap(&store, "claim_submit").await?;
        settle(&queue, batch, &held, |id| Move::Accept {
            whilter_request_id: format!("w-{id}"),
            first_check_in: Duration::ZERO,
        })
        .await?;
        costs.lap(&store, "accept").await?;
        let held = claim(&queue, batch, false).await?;
        costs.lap(&store, "claim_poll").await?;
        settle(&queue, batch, &held, |id| {
            let video_url = Some(format!("https://cdn.example/videos/{id}.mp4"));
            Move::Finish {
                end: End::Completed { video_url, image_url: None },
                source: Source::Poll,
            }
        })
        .await?;
        costs.lap(&store, "finish").await?;
        store.redis.stop().await?;
    }
    Ok(())
}

async fn enqueue(queue: &RuledQueue, batch: usize) -> anyhow::Result<()> {
    for first in (0..JOBS).step_by(batch) {
        let mut jobs = Vec::with_capacity(batch);
        for number in first..JOBS.min(first + batch) {
            let body = super::body(number).1;
            let request = Request::parse(body.as_bytes(), UnknownFields::Reject).request?;
            jobs.push((request, EntryFields::default()));
        }
        queue.enqueue_many(&jobs).await?;
    }
    Ok(())
}

async fn claim(queue: &RuledQueue, batch: usize, submits: bool) -> anyhow::Result<Held> {
    let mut held = Held::new();
    for number in 1.. {
        let (worker, rate) = (WORKER, None);
        let claimant = Claimant { worker, limit: batch, number, rate };
        let before = held.len();
        if submits {
            let claimed = queue.claim_submits(claimant).await?.0;
            held.extend(claimed.jobs.into_iter().map(|job| (job.id, job.claim)));
        } else {
            let claimed = queue.claim_polls(claimant).await?;
            held.extend(claimed.jobs.into_iter().map(|job| (job.id, job.claim)));
        }
        if held.len() == before {
            break;
        }
    }
    anyhow::ensure!(held.len() == JOBS, "{} of {JOBS} jobs claimed", held.len());
    Ok(held)
}

async fn settle(
    queue: &RuledQueue,
    batch: usize,
    held: &Held,
    to: impl Fn(&JobId) -> Move,
) -> anyhow::Result<()> {
    for chunk in held.chunks(batch) {
        let settlement =
            |(id, claim): &(JobId, Claim)| Settlement { id: id.clone(), claim: *claim, to: to(id) };
        let settlements: Vec<_> = chunk.iter().map(settlement).collect();
        queue.settle(WORKER, &settlements).await?;
    }
    Ok(())
}

/// The server's time in each command so far.
#[derive(Default)]
struct Costs(HashMap<String, f64>);

impl Costs {
    /// Prints what has been added since the last lap; the first one only looks.
    async fn lap(&mut self, store: &Store, script: &str) -> anyhow::Result<()> {
        let info: String = store.command(&["INFO", "commandstats"]).await?;
        let (mut total, mut inner) = (0.0, Vec::new());
        for line in info.lines() {
            let Some((name, figures)) =
                line.strip_prefix("cmdstat_").and_then(|it| it.split_once(':'))
            else {
                continue;
            };
            let usec = figures.split("usec=").nth(1).and_then(|it| it.split(',').next());
            let usec: f64 = usec.unwrap_or_default().parse()?;
            let added = usec - self.0.insert(name.to_owned(), usec).unwrap_or_default();
            let added = added / JOBS as f64;
            match name {
                "evalsha" => total = added,
                _ if added >= 0.05 => inner.push(format!("{name} {added:.1}")),
                _ => {}
            }
        }
        if !script.is_empty() {
            println!("  {script:12} {total:5.1}, of which {}", inner.join(", "));
        }
        Ok(())
    }
}
