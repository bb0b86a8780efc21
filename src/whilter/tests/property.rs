//! What holds for every answer, whoever made it: nothing panics, a job fails only by a word or a
//! code that says so, and texts are fit to be shown.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::answer::{Answer, Body, Given};
use super::super::outcome::{of_status, of_submit};
use super::*;
use crate::job::request::property_tests::many;
use crate::job::{ApiSignal, Outcome};

const SECRET: &str = "s3cret";

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

fn answers() -> impl Strategy<Value = (u16, Answer)> {
    let code = prop_oneof![4 => 200..300_u16, 4 => 300..600_u16, 1 => any::<u16>()];
    let wait = prop::option::of((0..400_u64).prop_map(Duration::from_secs));
    (code, wait, bodies(), prop::bool::weighted(0.1)).prop_map(|(code, retry_after, body, cut)| {
        let body = if cut { Body::Cut("cut") } else { Body::Whole(Bytes::from(body)) };
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
