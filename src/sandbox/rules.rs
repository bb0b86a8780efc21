//! Faults by rule: which calls of which jobs are answered in another way than the documented one.
//!
//! A rule is a text, as on the command line: `endpoint=submit,use-case-id=t1,calls=1-2,answer=500`.
//! `api` looks for the first that matches a call, under the sandbox's lock.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Odd, Reply};
use super::stats::Endpoint;

/// One rule (docs/contract.md, section 9).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FaultRule {
    text: String,
    /// Empty: all three.
    endpoints: Vec<Endpoint>,
    id: Option<Pattern>,
    use_case_id: Option<Pattern>,
    customer_id: Option<Pattern>,
    calls: RangeInclusive<u64>,
    answer: Wrong,
    page: bool,
    empty: bool,
    retry_after: Option<u64>,
    accepted: bool,
}

/// A text, or with a `*` at its end what begins with it.
#[derive(Clone, Debug, PartialEq)]
struct Pattern {
    text: String,
    is_prefix: bool,
}

/// The answer instead of the documented one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Code(StatusCode),
    Lost,
    Odd(Odd),
}

/// The job of a call, as far as the sandbox knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) id: &'a str,
    pub(super) use_case_id: &'a str,
    pub(super) customer_id: &'a str,
}

impl FaultRule {
    /// Whether it is about this call: the `n`-th of its job at this endpoint.
    pub(super) fn matches(&self, endpoint: Endpoint, subject: Option<Subject<'_>>, n: u64) -> bool {
        let has_endpoint = match endpoint {
            Endpoint::Token | Endpoint::Submit | Endpoint::Status => {
                self.endpoints.is_empty() || self.endpoints.contains(&endpoint)
            }
            Endpoint::Other | Endpoint::Push => false,
        };
        let fits = |pattern: &Option<Pattern>, text: fn(Subject<'_>) -> &str| {
            pattern.as_ref().is_none_or(|it| subject.is_some_and(|job| it.fits(text(job))))
        };
        has_endpoint
            && self.calls.contains(&n)
            && fits(&self.id, |job| job.id)
            && fits(&self.use_case_id, |job| job.use_case_id)
            && fits(&self.customer_id, |job| job.customer_id)
    }

    /// Whether the call has its effect all the same.
    pub(super) fn has_effect(&self) -> bool {
        self.accepted || matches!(self.answer, Wrong::Odd(_))
    }

    /// The answer to give; `documented` is what the call would have got, if it had its effect.
    pub(super) fn answer(&self, documented: Option<Answer>) -> Answer {
        let reply = match (self.answer, documented) {
            (Wrong::Lost, _) => return Answer::Lost,
            (Wrong::Odd(odd), Some(Answer::Reply(reply))) => {
                return Answer::Reply(reply.oddly(odd));
            }
            (Wrong::Odd(_), documented) => return documented.unwrap_or(Answer::Lost),
            (Wrong::Code(code), _) if self.page => Reply::page(code),
            (Wrong::Code(code), _) if self.empty => Reply::empty(code),
            (Wrong::Code(code), _) => Reply::error(code, "a fault that was asked for"),
        };
        let seconds = self.retry_after.map(HeaderValue::from);
        Answer::Reply(match seconds {
            Some(seconds) => reply.with(RETRY_AFTER, seconds),
            None => reply,
        })
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let prefix = text.strip_suffix('*');
        Self { text: prefix.unwrap_or(text).to_owned(), is_prefix: prefix.is_some() }
    }

    fn fits(&self, text: &str) -> bool {
        if self.is_prefix { text.starts_with(&self.text) } else { text == self.text }
    }
}

impl FromStr for FaultRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut answer = None;
        let mut rule = Self {
            text: text.to_owned(),
            endpoints: Vec::new(),
            id: None,
            use_case_id: None,
            customer_id: None,
            calls: 1..=u64::MAX,
            answer: Wrong::Lost,
            page: false,
            empty: false,
            retry_after: None,
            accepted: false,
        };
        for word in text.split(',') {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "endpoint" => {
                    rule.endpoints = value.split('+').map(endpoint).collect::<Result<_, _>>()?
                }
                "id" => rule.id = Some(Pattern::new(value)),
                "use-case-id" => rule.use_case_id = Some(Pattern::new(value)),
                "customer-id" => rule.customer_id = Some(Pattern::new(value)),
                "calls" => rule.calls = calls(value)?,
                "answer" => answer = Some(wrong(value)?),
                "retry-after" => {
                    rule.retry_after =
                        Some(value.parse().map_err(|_| "retry-after: expected seconds")?);
                }
                "page" | "empty" | "accepted" if word.contains('=') => {
                    return Err(format!("{key}: stands alone"));
                }
                "page" => rule.page = true,
                "empty" => rule.empty = true,
                "accepted" => rule.accepted = true,
                _ => return Err(format!("{key:?}: no part of a rule")),
            }
        }
        rule.answer = answer.ok_or("a rule needs an answer=")?;
        let has_form = rule.page || rule.empty || rule.retry_after.is_some();
        if has_form && !matches!(rule.answer, Wrong::Code(_)) || rule.page && rule.empty {
            return Err("page or empty, and retry-after, go with a code".to_owned());
        }
        Ok(rule)
    }
}

fn endpoint(name: &str) -> Result<Endpoint, String> {
    match name {
        "token" => Ok(Endpoint::Token),
        "submit" => Ok(Endpoint::Submit),
        "status" => Ok(Endpoint::Status),
        _ => Err(format!("endpoint: {name:?} is none of token, submit, status")),
    }
}

fn calls(text: &str) -> Result<RangeInclusive<u64>, String> {
    let number = |text: &str| text.parse().ok().filter(|it: &u64| *it > 0);
    let range = match text.split_once('-') {
        Some((first, "")) => number(first).map(|first| first..=u64::MAX),
        Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| first..=last),
        None => number(text).map(|only| only..=only),
    };
    let range = range.filter(|range| !range.is_empty());
    range.ok_or_else(|| "calls: expected N, N-M or N-, counted from 1".to_owned())
}

fn wrong(text: &str) -> Result<Wrong, String> {
    if text == "lost" {
        return Ok(Wrong::Lost);
    }
    if let Some(odd) = Odd::ALL.into_iter().find(|odd| odd.as_str() == text) {
        return Ok(Wrong::Odd(odd));
    }
    let code = text.parse().ok().filter(|code| (200..=599).contains(code));
    let code = code.and_then(|code: u16| StatusCode::from_u16(code).ok());
    code.map(Wrong::Code).ok_or_else(|| {
        let odd = Odd::ALL.map(Odd::as_str).join(", ");
        format!("answer: {text:?} is no code from 200 to 599, not lost, and none of {odd}")
    })
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for FaultRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<FaultRule> for String {
    fn from(rule: FaultRule) -> Self {
        rule.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> FaultRule {
        text.parse().expect(text)
    }

    const JOB: Subject<'_> = Subject { id: "bad-1", use_case_id: "t1", customer_id: "acme" };

    #[test]
    fn a_rule_is_about_the_calls_that_it_names() {
        let matches = |text: &str, endpoint, n| rule(text).matches(endpoint, Some(JOB), n);
        for (text, endpoint, n, expected) in [
            ("answer=500", Endpoint::Submit, 7, true),
            ("answer=500", Endpoint::Token, 1, true),
            ("answer=500", Endpoint::Push, 1, false),
            ("endpoint=submit+status,answer=500", Endpoint::Status, 1, true),
            ("endpoint=submit+status,answer=500", Endpoint::Token, 1, false),
            ("id=bad-1,answer=500", Endpoint::Submit, 1, true),
            ("id=bad-*,answer=500", Endpoint::Submit, 1, true),
            ("id=bad,answer=500", Endpoint::Submit, 1, false),
            ("use-case-id=t1,customer-id=acme,answer=500", Endpoint::Submit, 1, true),
            ("use-case-id=t1,customer-id=other,answer=500", Endpoint::Submit, 1, false),
            ("calls=2,answer=500", Endpoint::Submit, 1, false),
            ("calls=2,answer=500", Endpoint::Submit, 2, true),
            ("calls=1-2,answer=500", Endpoint::Submit, 3, false),
            ("calls=3-,answer=500", Endpoint::Submit, 9, true),
        ] {
            assert_eq!(matches(text, endpoint, n), expected, "{text} {endpoint:?} {n}");
        }
        assert!(!rule("id=a,answer=500").matches(Endpoint::Token, None, 1), "it has no job");
        assert!(rule("endpoint=token,answer=500").matches(Endpoint::Token, None, 1));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "",
            "endpoint=submit",
            "answer=99",
            "answer=600",
            "answer=odd",
            "answer=500,until=3",
            "endpoint=all,answer=500",
            "calls=0,answer=500",
            "calls=3-2,answer=500",
            "calls=x,answer=500",
            "answer=lost,page",
            "answer=bom,retry-after=1",
            "answer=500,page,empty",
            "answer=500,retry-after=soon",
            "answer=500,accepted=1",
        ] {
            assert!(bad.parse::<FaultRule>().is_err(), "{bad}");
        }
        let text = "id=a*,endpoint=submit,calls=1-2,answer=502,page,retry-after=3,accepted";
        assert_eq!(rule(text).to_string(), text);
    }
}
