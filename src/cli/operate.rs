//! What an operator does to jobs and to the queue: `cancel`, `retry`, `resolve`, `pause`, `resume`.
//!
//! One NDJSON line a job says where it stands then, or why nothing was done; exit code 1 if
//! anything was not done.

use std::time::Duration;

use clap::ArgGroup;
use serde_json::json;

use super::command::{Outcome, connect, print_json, printable};
use crate::config::Loaded;
use crate::job::{ErrorCode, JobId, Stage, State, is_media_url, is_transaction_id};
use crate::queue::{Finding, Operated, RuledQueue};

/// How many jobs a retry takes without `--yes`.
const RETRY_UNASKED: usize = 100;

#[derive(Debug, clap::Args)]
pub(super) struct CancelOptions {
    /// Client-request-ids
    #[arg(required = true, value_name = "ID", value_parser = job_id)]
    ids: Vec<JobId>,
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true))]
pub(super) struct RetryOptions {
    /// Client-request-ids
    #[arg(group = "which", value_name = "ID", value_parser = job_id)]
    ids: Vec<JobId>,
    /// Start over also where the API has the job: its video is bought again
    #[arg(long)]
    resubmit: bool,
    /// The jobs that ended failed or expired, instead of ids
    #[arg(long, group = "which")]
    dead: bool,
    /// The unconfirmed jobs that are held: each is sent once more, and may be paid twice
    #[arg(long, group = "which", conflicts_with_all = ["error", "since", "resubmit"])]
    held: bool,
    // Beside ids, what `requires` asks for would be waived: it conflicts with them.
    /// Of these, those with this error code
    #[arg(long, conflicts_with = "ids", value_name = "CODE", value_parser = error_code)]
    error: Option<ErrorCode>,
    /// Of these, those that ended at most so long ago, such as 2h
    #[arg(long, conflicts_with = "ids", value_name = "D", value_parser = crate::config::duration)]
    since: Option<Duration>,
    /// Of these, the first N
    #[arg(long, conflicts_with = "ids", value_name = "N")]
    limit: Option<usize>,
    /// Change nothing: only print what would become of the jobs
    #[arg(long)]
    dry_run: bool,
    /// More than 100 jobs
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("finding").required(true))]
pub(super) struct ResolveOptions {
    /// The client-request-id of an unconfirmed job
    #[arg(value_parser = job_id)]
    id: JobId,
    /// The API has it under this whilter-request-id: follow it
    #[arg(long, group = "finding", value_name = "W", value_parser = transaction)]
    transaction: Option<String>,
    /// Its video is here: complete it
    #[arg(long, group = "finding", value_name = "U", value_parser = url)]
    url: Option<String>,
    /// Nothing will come of it, for this reason: fail it
    #[arg(long, group = "finding", value_name = "TEXT")]
    fail: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct PauseOptions {
    /// Why, for others to read
    #[arg(default_value = "by an operator")]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResumeOptions {
    /// Leave a pause as it is, and have this stage probed at once, if it is closed: submit or poll
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    stage: Option<Stage>,
}

fn stage(text: &str) -> Result<Stage, &'static str> {
    Stage::parse(text).ok_or("must be submit or poll")
}

fn job_id(text: &str) -> Result<JobId, &'static str> {
    JobId::new(text)
}

fn error_code(text: &str) -> Result<ErrorCode, String> {
    let known = ErrorCode::ALL.into_iter().find(|code| code.as_str() == text);
    known.ok_or_else(|| format!("is none of {}", ErrorCode::ALL.map(ErrorCode::as_str).join(", ")))
}

fn transaction(text: &str) -> Result<String, &'static str> {
    let why = "must be 1 to 256 visible ASCII characters, not . or ..";
    is_transaction_id(text).then(|| text.to_owned()).ok_or(why)
}

fn url(text: &str) -> Result<String, &'static str> {
    let why = "must be an http or https URL of at most 4 KiB";
    is_media_url(text).then(|| text.to_owned()).ok_or(why)
}

pub(super) async fn cancel(loaded: &Loaded, options: CancelOptions) -> anyhow::Result<Outcome> {
    let queue = connect(loaded).await?;
    let answers = queue.cancel(&options.ids, None).await?;
    report(&options.ids, answers)
}

pub(super) async fn retry(loaded: &Loaded, options: RetryOptions) -> anyhow::Result<Outcome> {
    let queue = connect(loaded).await?;
    let ids = chosen(&queue, &options).await?;
    if ids.len() > RETRY_UNASKED && !options.yes && !options.dry_run {
        eprintln!("reelq: this would retry {} jobs; --yes says that it should", ids.len());
        return Ok(Outcome::WrongUsage);
    }
    let answers = if options.held {
        queue.retry_held(&ids, options.dry_run).await?
    } else {
        queue.retry(&ids, options.resubmit, options.dry_run).await?
    };
    let leads_to = |state| answers.iter().filter(|it| it.state() == Some(state)).count();
    let submitted = leads_to(State::Waiting) + leads_to(State::Unconfirmed);
    let would = if options.dry_run { "nothing was changed; " } else { "" };
    eprintln!(
        "{would}to be submitted, and paid: {submitted}; to be followed, at no cost: {}",
        leads_to(State::Polling)
    );
    report(&ids, answers)
}

/// The jobs that a retry is meant for.
async fn chosen(queue: &RuledQueue, options: &RetryOptions) -> anyhow::Result<Vec<JobId>> {
    let (mut ids, none): (Vec<JobId>, _) = if options.dead {
        let mut dead = queue.dead(options.since).await?;
        dead.retain(|job| options.error.is_none_or(|code| job.code() == code.as_str()));
        (dead.into_iter().map(|job| job.id).collect(), "no such job is dead")
    } else if options.held {
        (queue.held_jobs().await?, "no job is held")
    } else {
        return Ok(options.ids.clone());
    };
    if ids.is_empty() {
        eprintln!("{none}: nothing to retry");
    }
    ids.truncate(options.limit.unwrap_or(usize::MAX));
    Ok(ids)
}

pub(super) async fn resolve(loaded: &Loaded, options: ResolveOptions) -> anyhow::Result<Outcome> {
    let finding = match (options.transaction, options.url, options.fail) {
        (Some(whilter_request_id), ..) => Finding::Accepted(whilter_request_id),
        (_, Some(video_url), _) => Finding::Ready(video_url),
        (.., why) => Finding::GivenUp(printable(&why.unwrap_or_default())),
    };
    let queue = connect(loaded).await?;
    let answer = queue.resolve(&options.id, &finding).await?;
    report(&[options.id], vec![answer])
}

pub(super) async fn pause(loaded: &Loaded, options: PauseOptions) -> anyhow::Result<Outcome> {
    connect(loaded).await?.pause(&options.reason).await?;
    eprintln!("paused: nothing is submitted until `reelq resume`; status checks go on");
    Ok(Outcome::Success)
}

pub(super) async fn resume(loaded: &Loaded, options: ResumeOptions) -> anyhow::Result<Outcome> {
    let queue = connect(loaded).await?;
    if let Some(stage) = options.stage {
        let was_closed = queue.probe_now(stage).await?;
        // A pause holds back probes too.
        let waits = was_closed && stage == Stage::Submit && queue.is_paused().await?;
        eprintln!(
            "{stage} {}",
            match (was_closed, waits) {
                (false, _) => "is open",
                (true, false) => "is probed at once",
                (true, true) => "is paused, and probed when `reelq resume` ends that",
            }
        );
        return Ok(Outcome::Success);
    }
    let was_paused = queue.resume().await?;
    eprintln!("{}", if was_paused { "resumed" } else { "it was not paused" });
    Ok(Outcome::Success)
}

fn report(ids: &[JobId], answers: Vec<Operated>) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Success;
    for (id, answer) in ids.iter().zip(answers) {
        let id = id.as_str();
        let line = match answer {
            Operated::Done { state, revision } => {
                json!({ "client-request-id": id, "state": state.as_str(), "revision": revision })
            }
            Operated::Refused(why) => json!({ "client-request-id": id, "error": why }),
            Operated::Gone => json!({ "client-request-id": id, "error": "there is no such job" }),
        };
        if line.get("error").is_some() {
            outcome = Outcome::SomeFailed;
        }
        print_json(&line)?;
    }
    Ok(outcome)
}
