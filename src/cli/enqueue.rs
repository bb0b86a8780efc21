//! `reelq enqueue`: puts requests on the queue and says of each what became of it.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use serde_json::value::RawValue;

use super::command::{Outcome, connect, print_json, printable};
use crate::config::Loaded;
use crate::job::{EntryFields, JobId, Request, UnknownFields};
use crate::queue::{ADMIT_BATCH, Admission, JobResult, Queue, QueueError};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A JSON object, an array of them, or one a line; `-`: standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Wait until every job has ended, and print the results
    #[arg(long)]
    wait: bool,
}

/// When no result has come for so long, the records are looked at.
const QUIET_AFTER: Duration = Duration::from_secs(5);

/// Where in the input a request stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Line(usize),
    Item(usize),
}

pub(super) async fn run(loaded: &Loaded, options: Options) -> anyhow::Result<Outcome> {
    let input = read(&options.file)?;
    let queue = connect(loaded).await?;
    let before = queue.last_result_id().await?;
    let bodies = split(&input);
    let progress = bar(bodies.len(), "enqueued");
    let mut awaited = BTreeSet::new();
    let mut failed = 0;
    for chunk in bodies.chunks(ADMIT_BATCH) {
        for (place, id, answer) in
            enqueue(&queue, chunk, loaded.settings.queue.unknown_fields).await?
        {
            if !report(place, id.as_ref(), &answer)? {
                failed += 1;
            } else if let Some(id) = id {
                awaited.insert(id);
            }
        }
        progress.inc(u64::try_from(chunk.len()).unwrap_or(0));
    }
    progress.finish_and_clear();
    if bodies.is_empty() {
        eprintln!("nothing to enqueue: the input is empty");
    }
    if failed > 0 {
        eprintln!("{failed} of {} were rejected or conflicted", bodies.len());
    }
    let completed = !options.wait || wait(&queue, awaited, before).await?;
    Ok(if failed == 0 && completed { Outcome::Success } else { Outcome::SomeFailed })
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    if file == Path::new("-") {
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input).context("reading standard input")?;
        return Ok(input);
    }
    std::fs::read(file).with_context(|| format!("reading {}", file.display()))
}

/// The bodies of the input, byte for byte: one JSON value, the items of an array, or lines.
fn split(input: &[u8]) -> Vec<(Place, &[u8])> {
    if let Ok(items) = serde_json::from_slice::<Vec<&RawValue>>(input) {
        let items = items.into_iter().map(|item| item.get().as_bytes()).enumerate();
        return items.map(|(index, item)| (Place::Item(index + 1), item)).collect();
    }
    if serde_json::from_slice::<&RawValue>(input).is_ok() {
        return vec![(Place::Line(1), input.trim_ascii())];
    }
    let lines = input.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty());
    lines.map(|(index, line)| (Place::Line(index + 1), line)).collect()
}

type Answer = Result<Admission, String>;

/// Enqueues the valid ones of a chunk; the answers are in the chunk's order.
async fn enqueue(
    queue: &Queue,
    chunk: &[(Place, &[u8])],
    unknown: UnknownFields,
) -> anyhow::Result<Vec<(Place, Option<JobId>, Answer)>> {
    let parsed: Vec<_> = chunk.iter().map(|(_, body)| Request::parse(body, unknown)).collect();
    let valid: Vec<(Request, EntryFields)> = parsed
        .iter()
        .filter_map(|parsed| parsed.request.as_ref().ok())
        .map(|request| (request.clone(), EntryFields::default()))
        .collect();
    let mut admissions = queue.enqueue_many(&valid).await?.into_iter();
    let answers = chunk.iter().zip(parsed).map(|((place, _), parsed)| {
        let answer = match parsed.request {
            Ok(_) => Ok(admissions.next().expect("one answer for each valid request")),
            Err(problems) => Err(problems.to_string()),
        };
        (*place, parsed.id, answer)
    });
    Ok(answers.collect())
}

/// Prints one line; says whether the job is, or was, accepted.
fn report(place: Place, id: Option<&JobId>, answer: &Answer) -> anyhow::Result<bool> {
    let (status, error) = match answer {
        Ok(Admission::Conflict) => {
            ("conflict".to_owned(), Some("another body was accepted under this id".to_owned()))
        }
        Ok(admission) => (admission.to_string(), None),
        Err(problems) => (Admission::Rejected.to_string(), Some(problems.clone())),
    };
    let mut line = json!({ "client-request-id": id.map(JobId::as_str), "status": status });
    match place {
        Place::Line(number) => line["line"] = number.into(),
        Place::Item(number) => line["item"] = number.into(),
    }
    let failed = error.is_some();
    if let Some(error) = error {
        line["error"] = error.into();
    }
    print_json(&line)?;
    Ok(!failed)
}

/// Prints the results of these jobs as they end; says whether all of them completed.
async fn wait(queue: &Queue, mut awaited: BTreeSet<JobId>, before: String) -> anyhow::Result<bool> {
    let stats = queue.stats().await?;
    if stats.workers == 0 {
        eprintln!("no worker is alive: waiting for one");
    }
    if let Some(reason) = stats.paused {
        eprintln!("the queue is paused ({}): waiting for its end", printable(&reason));
    }
    let progress = bar(awaited.len(), "ended");
    let mut all_completed = true;
    let mut ended = |result: &JobResult| -> anyhow::Result<()> {
        all_completed &= result.status() == "completed";
        progress.inc(1);
        progress.suspend(|| print_json(&result.fields))
    };
    let mut reader = queue.results_after(before);
    // What ended before, as a duplicate may have, or what a failover has forgotten, does not come
    // again: the records know. They are looked at first, and whenever nothing has come for a while.
    let mut is_quiet = true;
    while !awaited.is_empty() {
        let read = async {
            if !is_quiet {
                return reader.read(ADMIT_BATCH, QUIET_AFTER).await;
            }
            let mut results = Vec::new();
            for id in &awaited {
                results.extend(queue.ended_result(id).await?);
            }
            Ok(results)
        };
        let results = match read.await {
            Err(error @ QueueError::Unavailable(_)) => {
                progress.suspend(|| eprintln!("{error}; waiting on"));
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            read => read?,
        };
        is_quiet = !is_quiet && results.is_empty();
        for result in results {
            let id = result.get("client-request-id").and_then(|id| JobId::new(id).ok());
            if result.status() != "rejected" && id.is_some_and(|id| awaited.remove(&id)) {
                ended(&result)?;
            }
        }
    }
    progress.finish_and_clear();
    Ok(all_completed)
}

/// A progress bar on standard error; invisible unless that is a terminal.
fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    ProgressBar::new(length).with_style(style).with_message(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(input: &str) -> Vec<(Place, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        split(input.as_bytes()).into_iter().map(|(place, it)| (place, text(it))).collect()
    }

    #[test]
    fn input_is_an_object_an_array_or_lines() {
        let one = |place: Place, body: &str| (place, body.to_owned());
        assert_eq!(bodies("{\n \"a\": 1 }\n"), [one(Place::Line(1), "{\n \"a\": 1 }")]);
        assert_eq!(
            bodies("[{\"a\": 1},\n 2]"),
            [one(Place::Item(1), "{\"a\": 1}"), one(Place::Item(2), "2")]
        );
        assert_eq!(
            bodies("{\"a\":1}\n\n  nonsense\r\n{\"b\":2}"),
            [
                one(Place::Line(1), "{\"a\":1}"),
                one(Place::Line(3), "nonsense"),
                one(Place::Line(4), "{\"b\":2}")
            ]
        );
        assert_eq!(bodies(" \n"), []);
    }
}
