//! What came of a call, as the tests of scripts settle it.

use std::time::Duration;

use reelq::job::{ErrorCode, Fault};
use reelq::queue::{End, Move, Source};

/// How long before its time-out a POST began.
const SENT_AGO: Duration = Duration::from_millis(10);

pub(crate) fn accept(whilter_request_id: &str) -> Move {
    let whilter_request_id = whilter_request_id.to_owned();
    Move::Accept { whilter_request_id, first_check_in: Duration::from_millis(1000) }
}

pub(crate) fn requeue() -> Move {
    let event = "retry: 500".to_owned();
    Move::Requeue { delay: Duration::from_millis(2000), spends_attempt: true, event, refusal: None }
}

pub(crate) fn refused() -> Move {
    let refusal = Some(Fault::new(ErrorCode::ApiRefused, "403"));
    let (delay, event) = (Duration::from_secs(1), "refused: 403".to_owned());
    Move::Requeue { delay, spends_attempt: false, event, refusal }
}

pub(crate) fn unconfirm(hold: bool) -> Move {
    let event = "unconfirmed: time-out".to_owned();
    Move::Unconfirm { event, hold, sent_ago: SENT_AGO }
}

pub(crate) fn repoll(streak: &str) -> Move {
    let event = "poll".to_owned();
    Move::Repoll { delay: Duration::from_millis(1600), streak: streak.to_owned(), event }
}

pub(crate) fn complete() -> Move {
    finish(End::Completed { video_url: Some("https://cdn/v.mp4".to_owned()), image_url: None })
}

/// The API made none.
pub(crate) fn fail() -> Move {
    finish(End::Failed(Fault::new(ErrorCode::GenerationFailed, "no face found")))
}

/// The API has forgotten it, which may be followed again.
pub(crate) fn forgotten() -> Move {
    finish(End::Failed(Fault::new(ErrorCode::UnknownTransaction, "404")))
}

pub(crate) fn expire() -> Move {
    finish(End::Expired(Fault::new(ErrorCode::PollDeadline, "no video in 1 s")))
}

fn finish(end: End) -> Move {
    Move::Finish { end, source: Source::Poll }
}
