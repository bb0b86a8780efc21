//! Faults by rule: which calls of which jobs are answered in another way than the documented one.
//!
//! A rule is a text, the same for the flag and for `PUT /sandbox/faults` (docs/contract.md,
//! section 9, has its grammar): `endpoint=submit,use-case-id=t1,calls=1-2,answer=500`. `api` looks
//! under the sandbox's lock for the first one about a call.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::str::FromStr;

use hyper::StatusCode;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, Reply};
use super::odd::Odd;
use super::stats::Endpoint;

/// One rule: about which calls it is, and what they get.
///
/// It is made from its text (`FromStr`); the error says what is wrong with that.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FaultRule {
    text: String,
    /// `None`: all three.
    endpoints: Option<Vec<Endpoint>>,
    id: Option<Pattern>,
    use_case_id: Option<Pattern>,
    customer_id: Option<Pattern>,
    calls: Option<RangeInclusive<u64>>,
    pub(super) effect: Effect,
}

/// What a rule does to a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Effect {
    /// Its good answer is written like this.
    Oddly(Odd),
    /// It gets another answer.
    Instead(Instead),
}

/// An answer instead of the documented one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Instead {
    /// `None`: the connection is closed.
    code: Option<StatusCode>,
    form: Form,
    /// Seconds.
    retry_after: Option<u64>,
    /// The call has its effect all the same.
    pub(super) accepted: bool,
}

/// What the body of such an answer is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Error,
    Page,
    Empty,
}

/// A text, or with a `*` at its end what begins with it.
#[derive(Clone, Debug, PartialEq)]
struct Pattern {
    text: String,
    is_prefix: bool,
}

/// A call as rules see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) endpoint: Endpoint,
    /// `None`: it belongs to no job, or to none that is known.
    pub(super) job: Option<Job<'a>>,
    /// Which one it is of its job's at this endpoint, or of all to the token's; from 1.
    pub(super) number: Option<u64>,
}

/// The job of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<'a> {
    pub(super) id: &'a str,
    pub(super) use_case_id: &'a str,
    pub(super) customer_id: &'a str,
}

impl FaultRule {
    pub(super) fn is_about(&self, subject: &Subject<'_>) -> bool {
        let fits = |pattern: &Option<Pattern>, text: fn(Job<'_>) -> &str| {
            pattern.as_ref().is_none_or(|it| subject.job.is_some_and(|job| it.fits(text(job))))
        };
        let counts =
            |calls: &RangeInclusive<u64>| subject.number.is_some_and(|it| calls.contains(&it));
        self.endpoints.as_ref().is_none_or(|these| these.contains(&subject.endpoint))
            && fits(&self.id, |job| job.id)
            && fits(&self.use_case_id, |job| job.use_case_id)
            && fits(&self.customer_id, |job| job.customer_id)
            && self.calls.as_ref().is_none_or(counts)
    }
}

impl Instead {
    pub(super) fn answer(self) -> Answer {
        let Some(code) = self.code else { return Answer::Lost };
        let reply = match self.form {
            Form::Error => Reply::error(code, "a fault that was asked for"),
            Form::Page => Reply::page(code),
            Form::Empty => Reply::empty(code),
        };
        Answer::Reply(match self.retry_after {
            Some(seconds) => reply.with(RETRY_AFTER, HeaderValue::from(seconds)),
            None => reply,
        })
    }
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        if self.is_prefix { text.starts_with(&self.text) } else { text == self.text }
    }
}

/// The parts of a rule's text that were not read yet; `None`: a key without a value.
struct Parts<'a>(BTreeMap<&'a str, Option<&'a str>>);

impl FromStr for FaultRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Parts::split(text)?;
        let rule = Self {
            text: text.to_owned(),
            endpoints: parts.value("endpoint", endpoints)?,
            id: parts.pattern("id")?,
            use_case_id: parts.pattern("use-case-id")?,
            customer_id: parts.pattern("customer-id")?,
            calls: parts.value("calls", calls)?,
            effect: parts.effect()?,
        };
        match parts.0.pop_first() {
            Some((key, _)) => Err(format!("{key:?}: no part of a rule")),
            None => Ok(rule),
        }
    }
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, String> {
        let mut parts = BTreeMap::new();
        for part in text.split(',') {
            let (key, value) =
                part.split_once('=').map_or((part, None), |(key, it)| (key, Some(it)));
            if parts.insert(key, value).is_some() {
                return Err(format!("{key:?}: given twice"));
            }
        }
        Ok(Self(parts))
    }

    fn value<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.0.remove(key) {
            None => Ok(None),
            Some(None | Some("")) => Err(format!("{key}: a value is missing")),
            Some(Some(value)) => read(value).map(Some).map_err(|why| format!("{key}: {why}")),
        }
    }

    fn pattern(&mut self, key: &str) -> Result<Option<Pattern>, String> {
        self.value(key, |text| {
            let prefix = text.strip_suffix('*');
            Ok(Pattern { text: prefix.unwrap_or(text).to_owned(), is_prefix: prefix.is_some() })
        })
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        match self.0.remove(key) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(_)) => Err(format!("{key}: takes no value")),
        }
    }

    fn effect(&mut self) -> Result<Effect, String> {
        let effect = self.value("answer", effect)?.ok_or("answer: is missing")?;
        let form = match (self.flag("page")?, self.flag("empty")?) {
            (false, false) => Form::Error,
            (true, false) => Form::Page,
            (false, true) => Form::Empty,
            (true, true) => return Err("page, empty: only one of them".to_owned()),
        };
        let retry_after = self.value("retry-after", |text| {
            number(text).ok_or_else(|| "expected seconds".to_owned())
        })?;
        let accepted = self.flag("accepted")?;
        let is_plain = form == Form::Error && retry_after.is_none();
        match effect {
            Effect::Instead(Instead { code, .. }) if is_plain || code.is_some() => {
                Ok(Effect::Instead(Instead { code, form, retry_after, accepted }))
            }
            Effect::Oddly(_) if is_plain && !accepted => Ok(effect),
            Effect::Instead(_) => Err("page, empty, retry-after: only with a code".to_owned()),
            Effect::Oddly(_) => {
                Err("page, empty, retry-after, accepted: not with an odd answer".to_owned())
            }
        }
    }
}

fn endpoints(text: &str) -> Result<Vec<Endpoint>, String> {
    let endpoint = |name| match name {
        "token" => Ok(Endpoint::Token),
        "submit" => Ok(Endpoint::Submit),
        "status" => Ok(Endpoint::Status),
        _ => Err(format!("expected token, submit or status, not {name:?}")),
    };
    text.split('+').map(endpoint).collect()
}

fn calls(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (first, last) = match text.split_once('-') {
        Some((first, "")) => (number(first), Some(u64::MAX)),
        Some((first, last)) => (number(first), number(last)),
        None => (number(text), number(text)),
    };
    match (first, last) {
        (Some(first), Some(last)) if 1 <= first && first <= last => Ok(first..=last),
        _ => Err("expected N, N-M or N-, counted from 1".to_owned()),
    }
}

fn effect(text: &str) -> Result<Effect, String> {
    if let Some((_, odd)) = Odd::ALL.into_iter().find(|(name, _)| *name == text) {
        return Ok(Effect::Oddly(odd));
    }
    let code = text.parse().ok().filter(|code: &StatusCode| !code.is_informational());
    if code.is_none() && text != "lost" {
        let names = Odd::ALL.map(|(name, _)| name).join(", ");
        return Err(format!("expected a code from 200 to 999, lost, {names}; not {text:?}"));
    }
    Ok(Effect::Instead(Instead { code, form: Form::Error, retry_after: None, accepted: false }))
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
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

    const JOB: Job<'_> = Job { id: "bad-1", use_case_id: "t1", customer_id: "acme" };
    const SUBMIT: Subject<'_> =
        Subject { endpoint: Endpoint::Submit, job: Some(JOB), number: Some(3) };
    const STATUS: Subject<'_> = Subject { endpoint: Endpoint::Status, ..SUBMIT };
    const TOKEN: Subject<'_> = Subject { endpoint: Endpoint::Token, job: None, number: Some(3) };
    /// A submit whose body is none, or a check of a transaction that is not known.
    const OF_NO_JOB: Subject<'_> = Subject { job: None, number: None, ..STATUS };

    #[test]
    fn a_rule_is_about_the_calls_that_all_its_parts_name() {
        for (parts, is_about) in [
            ("", [true, true, true, true]),
            ("endpoint=token,", [false, false, true, false]),
            ("endpoint=submit,", [true, false, false, false]),
            ("endpoint=status,", [false, true, false, true]),
            ("endpoint=token+submit,", [true, false, true, false]),
            ("id=bad-1,", [true, true, false, false]),
            ("id=bad-*,", [true, true, false, false]),
            ("id=*,", [true, true, false, false]),
            ("id=bad-,", [false; 4]),
            ("id=bad-10*,", [false; 4]),
            ("id=t1,", [false; 4]),
            ("use-case-id=t1,", [true, true, false, false]),
            ("use-case-id=t*,", [true, true, false, false]),
            ("use-case-id=acme,", [false; 4]),
            ("customer-id=acme,", [true, true, false, false]),
            ("customer-id=t1,", [false; 4]),
            ("use-case-id=t1,customer-id=acme,", [true, true, false, false]),
            ("use-case-id=t1,customer-id=other,", [false; 4]),
            ("calls=3,", [true, true, true, false]),
            ("calls=1-3,", [true, true, true, false]),
            ("calls=3-,", [true, true, true, false]),
            ("calls=1-2,", [false; 4]),
            ("calls=4-,", [false; 4]),
            ("calls=30,", [false; 4]),
            ("endpoint=status,id=bad-*,calls=3,", [false, true, false, false]),
        ] {
            let rule: FaultRule = format!("{parts}answer=500").parse().unwrap();
            let found = [SUBMIT, STATUS, TOKEN, OF_NO_JOB].map(|subject| rule.is_about(&subject));
            assert_eq!(found, is_about, "{rule:?}");
        }
    }

    #[test]
    fn a_rule_keeps_its_text_in_whatever_order() {
        for text in [
            "answer=lost",
            "answer=lost,accepted",
            "answer=200,empty",
            "answer=999,retry-after=0",
            "accepted,retry-after=300,page,answer=504,calls=2-,customer-id=c,use-case-id=u,id=a=b*",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain(Odd::ALL.map(|(name, _)| format!("endpoint=token,answer={name}")))
        {
            let rule: FaultRule = text.parse().unwrap();
            assert_eq!(String::from(rule), text);
        }
    }

    #[test]
    fn what_is_no_rule_is_refused_and_the_part_named() {
        for (bad, part) in [
            ("", "answer: "),
            ("endpoint=submit", "answer: "),
            ("answer", "answer: "),
            ("answer=", "answer: "),
            ("answer=199", "answer: "),
            ("answer=1000", "answer: "),
            ("answer=+50", "answer: "),
            ("answer=Lost", "answer: "),
            ("answer=odd", "answer: "),
            ("answer=500,", r#""": "#),
            ("answer=500, page", r#"" page": "#),
            ("answer=500,until=3", r#""until": "#),
            ("answer=500,answer=500", r#""answer": "#),
            ("id=a,answer=500,id=b", r#""id": "#),
            ("endpoint=all,answer=500", "endpoint: "),
            ("endpoint=submit+,answer=500", "endpoint: "),
            ("endpoint=push,answer=500", "endpoint: "),
            ("id=,answer=500", "id: "),
            ("use-case-id,answer=500", "use-case-id: "),
            ("calls=0,answer=500", "calls: "),
            ("calls=0-2,answer=500", "calls: "),
            ("calls=3-2,answer=500", "calls: "),
            ("calls=-2,answer=500", "calls: "),
            ("calls=1-2-3,answer=500", "calls: "),
            ("calls=+1,answer=500", "calls: "),
            ("calls=18446744073709551616,answer=500", "calls: "),
            ("answer=500,retry-after=soon", "retry-after: "),
            ("answer=500,retry-after=-1", "retry-after: "),
            ("answer=500,accepted=1", "accepted: "),
            ("answer=500,page=", "page: "),
            ("answer=500,page,empty", "page, empty: "),
            ("answer=lost,page", "page, "),
            ("answer=lost,empty", "page, "),
            ("answer=lost,retry-after=1", "page, "),
            ("answer=bom,page", "page, "),
            ("answer=bom,retry-after=1", "page, "),
            ("answer=bom,accepted", "page, "),
        ] {
            let problem = bad.parse::<FaultRule>().unwrap_err();
            assert!(problem.starts_with(part), "{bad}: {problem}");
        }
    }
}
