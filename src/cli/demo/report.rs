//! What the demo shows at its end, and what must be true of it.

use std::collections::BTreeMap;

use anyhow::ensure;
use comfy_table::{Table, presets};

use super::jobs::Job;
use crate::cli::command::printable;
use crate::queue::{JobResult, Source};

/// The results of each job by its id.
pub(super) type Results = BTreeMap<String, Vec<JobResult>>;

/// What the results come to.
pub(super) struct Totals {
    pub(super) results: usize,
    pub(super) videos: usize,
    /// Videos that a push led to.
    pub(super) by_push: usize,
    /// Videos that a poll found.
    pub(super) by_poll: usize,
}

impl Totals {
    pub(super) fn of(results: &Results) -> Self {
        let videos: Vec<&JobResult> =
            results.values().flatten().filter(|it| it.status() == "completed").collect();
        let by = |source: Source| {
            videos.iter().filter(|it| it.get("source") == Some(source.as_str())).count()
        };
        Self {
            results: results.values().map(Vec::len).sum(),
            videos: videos.len(),
            by_push: by(Source::Webhook),
            by_poll: by(Source::Poll),
        }
    }
}

/// A line for each result.
pub(super) fn table(jobs: &[Job], results: &Results) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["id", "came by", "status", "posts", "polls", "source", "video"]);
    for job in jobs {
        for result in results.get(job.id().as_str()).into_iter().flatten() {
            let field = |name| printable(result.get(name).unwrap_or("-"));
            let end = if result.status() == "completed" { "video-url" } else { "error" };
            table.add_row([
                job.id().to_string(),
                job.way.as_str().to_owned(),
                field("status"),
                field("posts"),
                field("polls"),
                field("source"),
                field(end),
            ]);
        }
    }
    table
}

/// Whether each job has its one result, and videos came by pushes and by polls.
///
/// # Errors
/// What is not true.
pub(super) fn verify(jobs: &[Job], results: &Results) -> anyhow::Result<()> {
    for job in jobs {
        let (id, way) = (job.id(), job.way.as_str());
        let count = results.get(id.as_str()).map_or(0, Vec::len);
        ensure!(count == 1, "{id}, which came by {way}, has {count} results");
    }
    ensure!(results.len() == jobs.len(), "a result is of a job that nobody brought");
    let totals = Totals::of(results);
    ensure!(totals.by_push > 0, "no video came by a push");
    ensure!(totals.by_poll > 0, "no video came by a poll");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs() -> Vec<Job> {
        (1..=6).map(Job::new).collect()
    }

    fn result(id: &str, source: Source) -> JobResult {
        let fields =
            [("client-request-id", id), ("status", "completed"), ("source", source.as_str())];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        JobResult { entry_id: "1-0".to_owned(), fields: fields.into() }
    }

    /// One video for each job: the first by a poll, the others by pushes.
    fn good() -> Results {
        let sources = [Source::Poll].into_iter().chain(std::iter::repeat(Source::Webhook));
        let jobs = jobs();
        let ids = jobs.iter().map(|job| job.id().to_string());
        ids.zip(sources).map(|(id, source)| (id.clone(), vec![result(&id, source)])).collect()
    }

    /// What is wrong after a change to what is good.
    fn fault(change: impl FnOnce(&mut Results)) -> String {
        let mut results = good();
        change(&mut results);
        verify(&jobs(), &results).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_true_is_found() {
        verify(&jobs(), &good()).unwrap();
        let missing = fault(|results| drop(results.remove("demo-03")));
        assert_eq!(missing, "demo-03, which came by http, has 0 results");
        let again = result("demo-02", Source::Poll);
        let twice = fault(|results| results.get_mut("demo-02").unwrap().push(again));
        assert_eq!(twice, "demo-02, which came by redis, has 2 results");
        let stranger = vec![result("x", Source::Poll)];
        let strange = fault(|results| drop(results.insert("x".to_owned(), stranger)));
        assert_eq!(strange, "a result is of a job that nobody brought");
        let all_by = |source| {
            fault(|results| {
                for (id, results) in results {
                    *results = vec![result(id, source)];
                }
            })
        };
        assert_eq!(all_by(Source::Poll), "no video came by a push");
        assert_eq!(all_by(Source::Webhook), "no video came by a poll");
    }

    #[test]
    fn the_table_says_by_which_way_a_job_and_its_url_came() {
        let table = table(&jobs(), &good()).to_string();
        let rows: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["demo-01", "redis", "completed", "-", "-", "poll", "-"]);
        assert_eq!(rows[3], ["demo-03", "http", "completed", "-", "-", "webhook", "-"]);
        assert_eq!(rows.len(), 7);
    }
}
