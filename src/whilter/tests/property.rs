//! What holds for every answer, whoever made it: nothing panics, a job fails only by a word or a
//! code that says so, and texts are fit to be shown.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::answer::{Answer, Given};
use super::super::body::Body;
use super::super::outcome::{of_status, of_submit};
use super::super::wire::Token;
use super::*;
use crate::job::request::property_tests::many;
use crate::job::{ApiSignal, Outcome};

const SECRET: &str = "s3cret";
/// No body of these tests is longer.
const LIMIT: usize = 4096;

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let words = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just(","),
        Just(":"),
        Just("null"),
        Just("5"),
        Just("\"status\""),
        Just("\"message\""),
        Just("\"video-url\""),
        Just("\"image-url\""),
        Just("\"client-request-id\""),
        Just("\"whilter-request-id\""),
        Just("\"SUCCESS\""),
        Just("\"FAILED\""),
        Just("\"https://h/v\""),
        Just("\"order-1\""),
        Just("\"w-1\""),
        Just("\"access_token\""),
        Just("\"expires_in\""),
        Just("\"\\u001b[2J s3cret\""),
        Just("<html>"),
        Just("\"\\ud800\""),
        Just(" "),
    ];
    let members = vec((0..6_usize, 0..7_usize), 0..6).prop_map(|members| {
        const NAMES: [&str; 6] = [
            "status",
            "message",
            "video-url",
            "image-url",
            "client-request-id",
            "whilter-request-id",
        ];
        const VALUES: [&str; 7] = [
            "null",
            "5",
            "\"SUCCESS\"",
            "\"FAILED s3cret\"",
            "\"https://h/v\"",
            "\"order-1\"",
            "[]",
        ];
        let members = members
            .into_iter()
            .map(|(name, value)| format!("\"{}\":{}", NAMES[name], VALUES[value]));
        format!("{{{}}}", members.collect::<Vec<_>>().join(",")).into_bytes()
    });
    prop_oneof![
        2 => vec(any::<u8>(), 0..200),
        3 => vec(words, 0..16).prop_map(|words| words.concat().into_bytes()),
        5 => members,
    ]
}

/// Those bodies, some of them with a stray byte, compressed, or broken off.
fn read_bodies() -> impl Strategy<Value = Body> {
    let stray = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    let (zipped, cut) = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    (bodies(), stray, zipped, cut).prop_map(|(mut body, stray, is_zipped, is_cut)| {
        if let Some((at, byte)) = stray {
            body.insert(at.index(body.len() + 1), byte);
        }
        let mut body = if is_zipped { zip(&body) } else { body };
        if is_cut {
            body.truncate(body.len() * 3 / 4);
        }
        Body::of(Bytes::from(body), is_cut.then_some("cut"), LIMIT)
    })
}

fn answers() -> impl Strategy<Value = (u16, Answer)> {
    let code = prop_oneof![4 => 200..300_u16, 4 => 300..600_u16, 1 => any::<u16>()];
    let wait = prop::option::of((0..400_u64).prop_map(Duration::from_secs));
    (code, wait, read_bodies()).prop_map(|(code, retry_after, body)| {
        (code, Answer::Given(Given { code, retry_after, body }))
    })
}

fn is_fit(text: &str) -> bool {
    text.len() < 400 && !text.contains(char::is_control) && !text.contains(SECRET)
}

/// Whether a 2xx answer speaks of a failure, as the table has it.
fn says_failure(answer: &Answer) -> bool {
    let Answer::Given(Given { body: Body::Whole(bytes), .. }) = answer else { return false };
    let text = String::from_utf8_lossy(bytes);
    ["FAIL", "ERROR", "REJECT", "CANCEL", "ABORT", "EXPIR"]
        .iter()
        .any(|word| text.to_uppercase().contains(word))
}

proptest! {
    #![proptest_config(many(100_000))]

    #[test]
    fn every_answer_to_a_submit_has_a_meaning((code, answer) in answers()) {
        let outcome = of_submit(&order(), &answer, Duration::ZERO, &[SECRET]);
        match &outcome {
            SubmitOutcome::Rejected(fault)
            | SubmitOutcome::Conflicts(fault)
            | SubmitOutcome::RejectedWithId { fault, .. } => {
                prop_assert!((400..500).contains(&code) || says_failure(&answer), "{code}");
                prop_assert!(is_fit(&fault.detail), "{:?}", fault.detail);
            }
            SubmitOutcome::Accepted { whilter_request_id } => {
                prop_assert!((200..300).contains(&code) || code == 409);
                prop_assert!(crate::job::is_transaction_id(whilter_request_id));
            }
            SubmitOutcome::RetryLater { .. }
            | SubmitOutcome::Limited { .. }
            | SubmitOutcome::NotSent { .. }
            | SubmitOutcome::NotTried { .. }
            | SubmitOutcome::HandedBack { .. }
            | SubmitOutcome::Refused { .. }
            | SubmitOutcome::Unknown { .. }
            | SubmitOutcome::NotUnderstood { .. } => prop_assert!(!(200..300).contains(&code)
                || matches!(outcome.signal(), ApiSignal::Strange)),
        }
        prop_assert!(outcome.fault().is_none_or(is_fit), "{outcome:?}");
    }

    /// The id is there, whatever stands beside it.
    #[test]
    fn no_paid_answer_is_thrown_away_over_a_detail(
        is_marked in any::<bool>(),
        message in vec(any::<u8>().prop_filter("ends no text", |it| !b"\"\\".contains(it)), 0..50),
        rest in vec(any::<u8>(), 0..50),
        is_zipped in any::<bool>(),
        is_cut in any::<bool>(),
    ) {
        let mark: &[u8] = if is_marked { b"\xef\xbb\xbf" } else { b"" };
        let (begin, end) = (br#" {"message":""#, br#"","whilter-request-id":"w-1"}"#);
        let body = [mark, begin, &message, end, &rest].concat();
        let body = if is_zipped { zip(&body) } else { body };
        let body = Body::of(Bytes::from(body), is_cut.then_some("cut"), LIMIT);
        let answer = Answer::Given(Given { code: 200, retry_after: None, body });
        prop_assert_eq!(of_submit(&order(), &answer, Duration::ZERO, &[]), accepted("w-1"));
    }

    #[test]
    fn every_answer_to_a_token_call_is_read(body in read_bodies()) {
        let Body::Whole(body) = &body else { return Ok(()) };
        prop_assert!(std::str::from_utf8(body).is_ok());
        let Ok(token) = Token::read(body) else { return Ok(()) };
        prop_assert!(token.access_token().is_none_or(|it| !it.is_empty()));
        prop_assert!(token.expires_in().is_none_or(|it| !it.is_nan()));
    }

    #[test]
    fn every_answer_to_a_status_check_has_a_meaning((code, answer) in answers()) {
        let outcome = of_status(&order(), Deliverable::Any, &answer, &[SECRET]);
        match &outcome {
            StatusOutcome::Ready { video_url, image_url } => {
                prop_assert!((200..300).contains(&code));
                let urls = [video_url, image_url].into_iter().flatten();
                prop_assert!(urls.clone().count() > 0);
                prop_assert!(urls.into_iter().all(|url| crate::job::is_media_url(url)));
            }
            StatusOutcome::Failed(fault) => {
                prop_assert!((200..300).contains(&code) && says_failure(&answer));
                prop_assert!(is_fit(&fault.detail), "{:?}", fault.detail);
            }
            StatusOutcome::NotYet => prop_assert!((200..300).contains(&code)),
            StatusOutcome::RetryLater { .. }
            | StatusOutcome::Limited { .. }
            | StatusOutcome::NotSent { .. }
            | StatusOutcome::Unanswered { .. }
            | StatusOutcome::NotTried { .. }
            | StatusOutcome::HandedBack { .. }
            | StatusOutcome::NotUnderstood { .. }
            | StatusOutcome::Refused { .. }
            | StatusOutcome::NotFound { .. }
            | StatusOutcome::BadRequest { .. } => {}
        }
        prop_assert!(outcome.fault().is_none_or(is_fit), "{outcome:?}");
    }
}
