//! The table of docs/contract.md, section 7, row by row.

use std::time::Duration;

use super::super::answer::{Answer, Given};
use super::super::body::Body;
use super::super::outcome::{of_status, of_submit};
use super::*;
use crate::job::{ErrorCode, Fault, Outcome as _};

const MINUTE: Duration = Duration::from_secs(60);
const SUCCESS: &str =
    r#"{"status":"SUCCESS","client-request-id":"order-1","whilter-request-id":"w"}"#;
const WORDS: &str = r#"{"message":"words"}"#;
const HTML: &str = "<html>secret layout</html>";

fn given(code: u16, body: &str) -> Answer {
    let body = Body::Whole(Bytes::copy_from_slice(body.as_bytes()));
    Answer::Given(Given { code, retry_after: None, body })
}

fn waiting(code: u16) -> Answer {
    let body = Body::Whole(Bytes::from(WORDS));
    Answer::Given(Given { code, retry_after: Some(MINUTE), body })
}

fn cut(code: u16) -> Answer {
    Answer::Given(Given { code, retry_after: None, body: Body::Cut("cut") })
}

#[track_caller]
fn assert_submit(answer: &Answer, expected: &SubmitOutcome) {
    assert_eq!(of_submit(&order(), answer, Duration::ZERO, &[]), *expected, "{answer:?}");
}

#[track_caller]
fn assert_status(answer: &Answer, expected: &StatusOutcome) {
    let outcome = of_status(&order(), Deliverable::Video, answer, &[]);
    assert_eq!(outcome, *expected, "{answer:?}");
}

fn later(detail: &str, spends_attempt: bool, retry_after: Option<Duration>) -> SubmitOutcome {
    SubmitOutcome::RetryLater { detail: detail.to_owned(), spends_attempt, retry_after }
}

fn unknown(detail: &str, by_gateway: bool) -> SubmitOutcome {
    SubmitOutcome::Unknown { detail: detail.to_owned(), sent_ago: Duration::ZERO, by_gateway }
}

fn strange(detail: &str) -> SubmitOutcome {
    SubmitOutcome::NotUnderstood { detail: detail.to_owned(), sent_ago: Duration::ZERO }
}

fn strange_check(detail: &str) -> StatusOutcome {
    StatusOutcome::NotUnderstood { detail: detail.to_owned() }
}

/// Who is refused: a 401 that arrives here came with a fresh token.
fn by(code: u16) -> Refusal {
    if code == 401 { Refusal::Token } else { Refusal::Call }
}

fn check_later(detail: &str) -> StatusOutcome {
    StatusOutcome::RetryLater { detail: detail.to_owned(), retry_after: None }
}

fn bad_request(detail: &str) -> Fault {
    Fault::new(ErrorCode::BadRequest, detail)
}

#[test]
fn a_2xx_submit_is_accepted_rejected_or_in_doubt() {
    for code in [200, 201, 202, 299] {
        assert_submit(&given(code, SUCCESS), &accepted("w"));
    }
    for ours in [
        r#"{"whilter-request-id":"w"}"#,
        r#"{"status":"QUEUED","whilter-request-id":"w","client-request-id":null}"#,
    ] {
        assert_submit(&given(200, ours), &accepted("w"));
    }
    for status in ["FAILED", "Error", "rejected", "CANCELLED", "aborted", "Expired"] {
        let fault = || Fault::new(ErrorCode::ApiRejected, "words");
        let body = format!(r#"{{"status":"{status}","message":"words"}}"#);
        assert_submit(&given(200, &body), &SubmitOutcome::Rejected(fault()));
        let named = body.replace('}', r#","whilter-request-id":"w"}"#);
        let outcome =
            SubmitOutcome::RejectedWithId { fault: fault(), whilter_request_id: "w".to_owned() };
        assert_submit(&given(200, &named), &outcome);
    }
    for id in ["null", r#""""#, r#"".""#, r#""..""#, r#""a b""#] {
        let body = format!(r#"{{"status":"SUCCESS","whilter-request-id":{id}}}"#);
        assert_submit(&given(200, &body), &strange("200, without a usable whilter-request-id"));
    }
    let others = SUCCESS.replace("order-1", "order-2");
    let others_failure = others.replace("SUCCESS", "FAILED");
    for (body, why) in [
        (HTML, "an HTML page"),
        (&SUCCESS[..30], "no JSON object"),
        ("", "no JSON object"),
        ("[]", "no JSON object"),
        (&others, "for another client-request-id"),
        (&others_failure, "for another client-request-id"),
    ] {
        assert_submit(&given(200, body), &strange(&format!("200, not understood: {why}")));
    }
    assert_submit(&cut(200), &strange("200, not understood: cut"));
}

#[test]
fn every_other_code_of_a_submit_has_its_meaning() {
    let refused =
        |code: u16| SubmitOutcome::Refused { detail: format!("{code}: words"), refusal: by(code) };
    for code in
        (300..500).chain([511]).filter(|it| ![400, 408, 409, 413, 422, 425, 429].contains(it))
    {
        assert_submit(&given(code, WORDS), &refused(code));
    }
    for code in [400, 413, 422] {
        let fault = bad_request(&format!("{code}: words"));
        assert_submit(&given(code, WORDS), &SubmitOutcome::Rejected(fault.clone()));
        let without_body = SubmitOutcome::Rejected(bad_request(&code.to_string()));
        assert_submit(&given(code, ""), &without_body);
        let named = r#"{"message":"words","whilter-request-id":"w"}"#;
        let whilter_request_id = "w".to_owned();
        let outcome = SubmitOutcome::RejectedWithId { fault, whilter_request_id };
        assert_submit(&given(code, named), &outcome);
        // Something in front of the API does not judge a job.
        for (page, detail) in [
            (given(code, HTML), "an HTML page"),
            (given(code, "words"), "words"),
            (cut(code), "cut"),
        ] {
            let detail = format!("{code}: {detail}");
            assert_submit(&page, &SubmitOutcome::Refused { detail, refusal: Refusal::Call });
        }
    }
    assert_submit(&given(409, SUCCESS), &accepted("w"));
    for body in [WORDS, r#"{"message":"words","whilter-request-id":".."}"#] {
        let fault = bad_request("409: words");
        assert_submit(&given(409, body), &SubmitOutcome::Conflicts(fault));
    }
    let others = SubmitOutcome::Conflicts(bad_request(
        r#"409: {"client-request-id":"order-2","whilter-request-id":"w"}"#,
    ));
    let body = r#"{"client-request-id":"order-2","whilter-request-id":"w"}"#;
    assert_submit(&given(409, body), &others);
}

#[test]
fn every_fault_of_a_submit_has_its_meaning() {
    let limited =
        |retry_after| SubmitOutcome::Limited { detail: "429: words".to_owned(), retry_after };
    assert_submit(&given(429, WORDS), &limited(Duration::ZERO));
    assert_submit(&waiting(429), &limited(MINUTE));
    assert_submit(&waiting(503), &later("503: words", false, Some(MINUTE)));
    let gateway = [502, 504, 520, 522, 524];
    for code in gateway {
        for answer in [given(code, WORDS), waiting(code)] {
            assert_submit(&answer, &unknown(&format!("{code}: words"), true));
        }
    }
    for code in (500..600).chain([408, 425]).filter(|it| *it != 511 && !gateway.contains(it)) {
        assert_submit(&given(code, WORDS), &later(&format!("{code}: words"), true, None));
    }
    assert_submit(&waiting(500), &later("500: words", true, None));
    for code in [101, 199, 600, 999] {
        assert_submit(&given(code, WORDS), &unknown(&format!("{code}: words"), false));
    }
    let why = || "why".to_owned();
    assert_submit(&Answer::NotSent(why()), &SubmitOutcome::NotSent { detail: why() });
    assert_submit(&Answer::MaybeSent(why()), &unknown("why", false));
}

#[test]
fn a_2xx_status_is_ready_failed_not_yet_or_not_understood() {
    let ready = |video: &str, image: &str| {
        let url = |it: &str| (!it.is_empty()).then(|| it.to_owned());
        StatusOutcome::Ready { video_url: url(video), image_url: url(image) }
    };
    let body = |video: &str, image: &str| {
        format!(r#"{{"status":"SUCCESS","message":null,"video-url":{video},"image-url":{image}}}"#)
    };
    let (video, image) = (r#""https://v""#, r#""https://i""#);
    let not_yet = StatusOutcome::NotYet;
    use Deliverable::{Any, Image, Video};
    for (deliverable, video, image, expected) in [
        (Video, video, image, ready("https://v", "https://i")),
        (Video, video, "null", ready("https://v", "")),
        (Video, video, "5", ready("https://v", "")),
        (Video, "null", image, not_yet.clone()),
        (Video, r#""""#, "null", not_yet.clone()),
        (Image, "null", image, ready("", "https://i")),
        (Image, video, "null", not_yet.clone()),
        (Any, video, "null", ready("https://v", "")),
        (Any, "null", image, ready("", "https://i")),
        (Any, "null", "null", not_yet.clone()),
    ] {
        let answer = given(200, &body(video, image));
        assert_eq!(of_status(&order(), deliverable, &answer, &[]), expected, "{answer:?}");
    }
    assert_status(&given(200, r#"{"status":"PROCESSING"}"#), &not_yet);
    assert_status(&given(200, r#"{"video-url":"https://v"}"#), &ready("https://v", ""));
    for status in ["FAIL", "GENERATION_ERROR", "Rejected", "canceled", "ABORTED", "expired"] {
        let said = format!(r#"{{"status":"{status}","message":"words","image-url":"https://i"}}"#);
        let fault = Fault::new(ErrorCode::GenerationFailed, "words");
        assert_status(&given(200, &said), &StatusOutcome::Failed(fault));
        // The video is there, whatever the words.
        let said = format!(r#"{{"status":"{status}","message":"words","video-url":"https://v"}}"#);
        assert_status(&given(200, &said), &ready("https://v", ""));
    }
    let ftp = body(r#""ftp://v""#, "null");
    let others = r#"{"status":"FAILED","client-request-id":"order-2"}"#;
    for (said, why) in [
        (HTML, "an HTML page"),
        ("[null]", "no JSON object"),
        (others, "for another client-request-id"),
        (r#"{"error":"maintenance"}"#, "without a status"),
        (&ftp, "its video-url is no http(s) URL of at most 4 KiB"),
    ] {
        assert_status(&given(200, said), &strange_check(&format!("200, not understood: {why}")));
    }
    assert_status(&cut(200), &strange_check("200, not understood: cut"));
}

#[test]
fn every_other_code_of_a_status_check_has_its_meaning() {
    let others = [400, 404, 408, 409, 410, 413, 422, 425, 429];
    for code in (300..500).chain([511]).filter(|it| !others.contains(it)) {
        let detail = format!("{code}: words");
        let refused = StatusOutcome::Refused { detail, refusal: by(code) };
        assert_status(&given(code, WORDS), &refused);
    }
    for body in [WORDS, "words"] {
        for code in [404, 410] {
            let not_found = StatusOutcome::NotFound { detail: format!("{code}: words") };
            assert_status(&given(code, body), &not_found);
        }
        for code in [400, 413, 422] {
            let bad_request = StatusOutcome::BadRequest { detail: format!("{code}: words") };
            assert_status(&given(code, body), &bad_request);
        }
    }
    assert_status(&given(409, WORDS), &strange_check("409: words"));
    for code in (500..600).chain([101, 408, 425, 600]).filter(|it| *it != 511) {
        assert_status(&given(code, WORDS), &check_later(&format!("{code}: words")));
    }
    let limited =
        |retry_after| StatusOutcome::Limited { detail: "429: words".to_owned(), retry_after };
    assert_status(&given(429, WORDS), &limited(Duration::ZERO));
    assert_status(&waiting(429), &limited(MINUTE));
    let detail = "503: words".to_owned();
    let waits = StatusOutcome::RetryLater { detail, retry_after: Some(MINUTE) };
    assert_status(&waiting(503), &waits);
    assert_status(&waiting(500), &check_later("500: words"));
    let why = || "why".to_owned();
    assert_status(&Answer::NotSent(why()), &StatusOutcome::NotSent { detail: why() });
    assert_status(&Answer::MaybeSent(why()), &StatusOutcome::Unanswered { detail: why() });
}

#[test]
fn a_detail_says_what_the_answer_says_and_no_more() {
    let long = format!(r#"{{"message":"{}"}}"#, "ä".repeat(400));
    let cut_long = format!("400: {}", "ä".repeat(150));
    for (body, detail) in [
        ("", "400"),
        (WORDS, "400: words"),
        (HTML, "400: an HTML page"),
        ("plain\r\n\u{1b}[31mtext", "400: plain   [31mtext"),
        (r#"{"error":"a"}"#, r#"400: {"error":"a"}"#),
        (r#"{"message":"token tk-1"}"#, "400: token ********"),
        (&long, &cut_long),
    ] {
        let outcome = of_submit(&order(), &given(400, body), Duration::ZERO, &["tk-1"]);
        let said = if let SubmitOutcome::Rejected(fault) = &outcome {
            Some(fault.detail.as_str())
        } else {
            outcome.fault()
        };
        assert_eq!(said, Some(detail), "{body}");
    }
    let refused = SubmitOutcome::Refused { detail: "403: cut".to_owned(), refusal: by(403) };
    assert_submit(&cut(403), &refused);
}
