//! What holds for every body, valid or not: nothing panics, and readings agree with each other.

use std::borrow::Cow;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};

use super::*;

/// So many cases, unless PROPTEST_CASES says otherwise; what failed once is kept beside the source
/// and tried first.
pub(crate) fn many(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let corpus = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(corpus)), ..default }
}

/// The fields of a stream entry: names that mean something, and others, with values good and bad.
fn entries() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = prop_oneof![
        4 => Just(b"job".to_vec()),
        4 => prop::sample::select(EntryFields::NAMES.to_vec()).prop_map(|it| it.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..9),
    ];
    let value = prop_oneof![
        3 => requests().prop_map(Request::into_body),
        2 => "[0-9]{10,15}".prop_map(String::into_bytes),
        1 => Just(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_vec()),
        2 => vec(any::<u8>(), 0..60),
    ];
    vec((name, value), 0..6)
}

fn requests() -> impl Strategy<Value = Request> {
    let texts = || option::of(vec(".{0,12}", 0..3));
    let urls = || option::of(vec("https?://[a-z]{1,8}(/[a-zA-Z0-9?&=.]{0,8})?", 0..3));
    let required = ("[!-~]{3,20}", ".{1,20}", ".{1,20}", ".{1,20}");
    (required, option::of(".{0,9}"), texts(), texts(), texts(), urls(), urls()).prop_map(
        |((id, customer, use_case, user), reference, phrases, images, videos, iurls, vurls)| {
            let id = JobId::new(id).unwrap();
            let mut builder = Request::new(id, customer, use_case, user);
            if let Some(reference) = reference {
                builder = builder.reference_record_id(reference);
            }
            let builder = builder.phrase_texts(phrases.unwrap_or_default());
            let builder = builder.image_texts(images.unwrap_or_default());
            let builder = builder.video_texts(videos.unwrap_or_default());
            let builder = builder.image_urls(iurls.unwrap_or_default());
            builder.video_urls(vurls.unwrap_or_default()).build().unwrap()
        },
    )
}

/// Neither reading panics, whatever the bytes; and what they agree on holds.
fn read_in_every_way(body: &[u8]) {
    for unknown in [UnknownFields::Reject, UnknownFields::Pass] {
        let parsed = Request::parse(body, unknown);
        match parsed.request {
            Ok(request) => {
                assert_eq!(Some(request.id()), parsed.id.as_ref());
                assert_eq!(request.body(), body);
                let sent = body_to_send(body);
                let again = Request::parse(&sent, unknown).request.unwrap();
                assert_eq!(again.id(), request.id());
                assert!(matches!(body_to_send(&sent), Cow::Borrowed(_)));
                assert_eq!(body_sha1(&sent), body_sha1(body));
            }
            Err(problems) => {
                assert!(!problems.is_empty() && problems.listed().len() <= 20);
                assert!(problems.to_string().len() < 20 * 1000);
            }
        }
    }
    let _sent = body_to_send(body);
    let _sha1 = body_sha1(body);
}

proptest! {
    #![proptest_config(many(100_000))]

    #[test]
    fn an_entry_is_a_job_or_says_every_fault(fields in entries()) {
        let bodies = fields.iter().filter(|(name, _)| name == b"job").count();
        let entry = Entry::read(fields, UnknownFields::Reject);
        match &entry.request {
            Ok(request) => {
                prop_assert!(bodies == 1 && entry.id.as_ref() == Some(request.id()));
                prop_assert_eq!(request.body(), &entry.body[..]);
            }
            Err(problems) => prop_assert!(!problems.is_empty() && problems.listed().len() <= 20),
        }
        prop_assert!(entry.fields.meta.is_none_or(|meta| meta.len() <= 4096));
    }
}

proptest! {
    // Three kinds of bodies that nobody should send.
    #![proptest_config(many(34_000))]

    #[test]
    fn arbitrary_bytes_are_only_a_problem(body in vec(any::<u8>(), 0..300)) {
        read_in_every_way(&body);
    }

    #[test]
    fn arbitrary_json_like_text_is_only_a_problem(
        parts in vec(
            prop_oneof![
                Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("null"),
                Just("\"user-id\""), Just("\"image-urls\""), Just("\"client-request-id\""),
                Just("\"x\""), Just("-1e5"), Just("\"\\ud800\""), Just("true"), Just(" "),
            ],
            0..40,
        ),
    ) {
        read_in_every_way(parts.concat().as_bytes());
    }

    #[test]
    fn a_mutated_body_never_panics(
        request in requests(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut body = request.into_body();
        for (at, byte, kind) in edits {
            let at = at.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => body.truncate(at + 1),
            }
        }
        read_in_every_way(&body);
    }

}

proptest! {
    #![proptest_config(many(1000))]

    #[test]
    fn a_valid_request_round_trips(request in requests()) {
        let parsed = Request::parse(request.body(), UnknownFields::Reject);
        prop_assert_eq!(parsed.request.as_ref(), Ok(&request));
        read_in_every_way(request.body());
    }

    #[test]
    fn leaving_nulls_out_changes_nothing_else(
        request in requests(),
        nulls in vec(prop::sample::select(vec!["image-urls", "phrase-texts", "more"]), 0..4),
    ) {
        let Value::Object(fields) = serde_json::from_slice(request.body()).unwrap() else {
            unreachable!("a request is an object");
        };
        // Written by hand, so that a null can stand beside a value of the same name.
        let kept: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        let mut members = kept.clone();
        members.extend(nulls.iter().map(|name| format!("\"{name}\":null")));
        let mut expected = kept;
        expected.extend(
            nulls.iter().filter(|name| **name == "more").map(|name| format!("\"{name}\":null")),
        );
        let body = format!("{{{}}}", members.join(","));
        let sent = body_to_send(body.as_bytes());
        let expected = format!("{{{}}}", expected.join(","));
        prop_assert_eq!(&*sent, expected.as_bytes());
    }
}
