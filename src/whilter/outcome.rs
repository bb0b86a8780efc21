//! What each answer of the remote API means: the table of docs/contract.md, section 7, as two
//! pure functions, one match each.
//!
//! `client` calls them with whatever came back. When in doubt a submit is `Unknown`, since it may be
//! billed, and a status check is repeated, since the video may be finished. Any other reading could
//! lose a video that is paid for.

use std::borrow::Cow;
use std::time::Duration;

use crate::config::Deliverable;
use crate::job::{ErrorCode, Fault, JobId, Refusal, StatusOutcome, SubmitOutcome};

use super::answer::{Answer, Given, shown};
use super::body::Body;
use super::wire::Said;

/// What the answer to the submit of `id`, sent `sent_ago`, means. `secrets` are hidden in its texts.
pub(super) fn of_submit(
    id: &JobId,
    answer: &Answer,
    sent_ago: Duration,
    secrets: &[&str],
) -> SubmitOutcome {
    let given = match answer {
        Answer::Given(given) => given,
        Answer::NotSent(why) => return SubmitOutcome::NotSent { detail: why.clone() },
        Answer::MaybeSent(why) => {
            return SubmitOutcome::Unknown { detail: why.clone(), sent_ago, by_gateway: false };
        }
    };
    let detail = || given.in_words(secrets);
    let bad_request = || Fault::new(ErrorCode::BadRequest, detail());
    let refused = || SubmitOutcome::Refused { detail: detail(), refusal: refusal(given.code) };
    let later = |spends_attempt| SubmitOutcome::RetryLater {
        detail: detail(),
        spends_attempt,
        retry_after: given.retry_after.filter(|_| !spends_attempt),
    };
    match given.code {
        200..=299 => accepted(id, given, sent_ago, secrets),
        // Only the API itself judges a job, not a page of something in front of it.
        400 | 413 | 422 if given.is_the_apis_own() => rejected(bad_request(), named_id(id, given)),
        409 => match named_id(id, given) {
            Some(whilter_request_id) => SubmitOutcome::Accepted { whilter_request_id },
            None => SubmitOutcome::Conflicts(bad_request()),
        },
        429 => SubmitOutcome::Limited {
            detail: detail(),
            retry_after: given.retry_after.unwrap_or_default(),
        },
        408 | 425 => later(true),
        300..=499 | 511 => refused(),
        503 if given.retry_after.is_some() => later(false),
        // A gateway's word: the API may have the request.
        502 | 504 | 520 | 522 | 524 => {
            SubmitOutcome::Unknown { detail: detail(), sent_ago, by_gateway: true }
        }
        500..=599 => later(true),
        _ => SubmitOutcome::Unknown { detail: detail(), sent_ago, by_gateway: false },
    }
}

/// What the answer to a status check of the job `id` means.
pub(super) fn of_status(
    id: &JobId,
    deliverable: Deliverable,
    answer: &Answer,
    secrets: &[&str],
) -> StatusOutcome {
    let given = match answer {
        Answer::Given(given) => given,
        Answer::NotSent(why) => return StatusOutcome::NotSent { detail: why.clone() },
        Answer::MaybeSent(why) => return StatusOutcome::Unanswered { detail: why.clone() },
    };
    let detail = || given.in_words(secrets);
    match given.code {
        200..=299 => ready(id, deliverable, given, secrets),
        400 | 413 | 422 => StatusOutcome::BadRequest { detail: detail() },
        404 | 410 => StatusOutcome::NotFound { detail: detail() },
        429 => StatusOutcome::Limited {
            detail: detail(),
            retry_after: given.retry_after.unwrap_or_default(),
        },
        // A conflict says nothing that a transaction could be judged by.
        409 => StatusOutcome::NotUnderstood { detail: detail() },
        503 => StatusOutcome::RetryLater { detail: detail(), retry_after: given.retry_after },
        300..=499 | 511 if !matches!(given.code, 408 | 425) => {
            StatusOutcome::Refused { detail: detail(), refusal: refusal(given.code) }
        }
        _ => StatusOutcome::RetryLater { detail: detail(), retry_after: None },
    }
}

/// The 2xx rows of a submit.
fn accepted(id: &JobId, given: &Given, sent_ago: Duration, secrets: &[&str]) -> SubmitOutcome {
    let said = match read(id, given) {
        Ok(said) => said,
        Err(detail) => return SubmitOutcome::NotUnderstood { detail, sent_ago },
    };
    if let Some(message) = said.failure() {
        let fault = Fault::new(ErrorCode::ApiRejected, shown(&message, secrets));
        return rejected(fault, said.whilter_request_id().map(Cow::into_owned));
    }
    match said.whilter_request_id() {
        Some(whilter_request_id) => {
            SubmitOutcome::Accepted { whilter_request_id: whilter_request_id.into_owned() }
        }
        None => {
            let detail = format!("{}, without a usable whilter-request-id", given.code);
            SubmitOutcome::NotUnderstood { detail, sent_ago }
        }
    }
}

/// The 2xx rows of a status check.
fn ready(id: &JobId, deliverable: Deliverable, given: &Given, secrets: &[&str]) -> StatusOutcome {
    let said = match read(id, given) {
        Ok(said) => said,
        Err(detail) => return StatusOutcome::NotUnderstood { detail },
    };
    let (video, image) = (said.video_url(), said.image_url());
    let has = |url: &Result<Option<String>, _>| matches!(url, Ok(Some(_)));
    let is_ready = match deliverable {
        Deliverable::Video => has(&video),
        Deliverable::Image => has(&image),
        Deliverable::Any => has(&video) || has(&image),
    };
    if is_ready {
        // A strange URL of the one does not withhold the other.
        let (video_url, image_url) = (video.unwrap_or_default(), image.unwrap_or_default());
        return StatusOutcome::Ready { video_url, image_url };
    }
    if let Some(message) = said.failure() {
        let fault = Fault::new(ErrorCode::GenerationFailed, shown(&message, secrets));
        return StatusOutcome::Failed(fault);
    }
    match (video, image) {
        (Err(why), _) | (_, Err(why)) => strange(given, why),
        // An object that says nothing we know (a gateway's error page in JSON) must not let a
        // deadline end the job.
        (Ok(None), Ok(None)) if said.status().is_none() => strange(given, "without a status"),
        (Ok(_), Ok(_)) => StatusOutcome::NotYet,
    }
}

fn rejected(fault: Fault, named_id: Option<String>) -> SubmitOutcome {
    match named_id {
        Some(whilter_request_id) => SubmitOutcome::RejectedWithId { fault, whilter_request_id },
        None => SubmitOutcome::Rejected(fault),
    }
}

/// The id that an answer to the submit of `id` names, whatever its code.
fn named_id(id: &JobId, given: &Given) -> Option<String> {
    read(id, given).ok()?.whilter_request_id().map(Cow::into_owned)
}

fn read<'a>(id: &JobId, given: &'a Given) -> Result<Said<'a>, String> {
    match &given.body {
        Body::Whole(bytes) => Said::read(bytes, id.as_str()),
        Body::Cut(why) => Err(*why),
    }
    .map_err(|why| not_understood(given, why))
}

fn not_understood(given: &Given, why: &str) -> String {
    format!("{}, not understood: {why}", given.code)
}

fn strange(given: &Given, why: &str) -> StatusOutcome {
    StatusOutcome::NotUnderstood { detail: not_understood(given, why) }
}

/// Who was refused by an answer with this code; a 401 came again with a fresh token.
fn refusal(code: u16) -> Refusal {
    if code == 401 { Refusal::Token } else { Refusal::Call }
}
