//! What a configuration may say, and what is said of one that cannot be used.

use std::path::PathBuf;
use std::time::Duration;

use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Settings::from_source(Source {
        file: Some((PathBuf::from("test.toml"), text.to_owned())),
        environment: environment.iter().map(own).collect(),
    })
}

fn mistakes(text: &str, environment: &[(&str, &str)]) -> String {
    load(text, environment).map(|_| ()).unwrap_err().to_string()
}

const SAMPLE: &str = include_str!("../../config/reelq.toml");

#[test]
fn the_defaults_are_valid_and_lack_only_the_api() {
    let loaded = load("", &[]).unwrap();
    assert_eq!(loaded.settings.queue.failed_retention, Duration::from_secs(14 * 86_400));
    let missing = loaded.api().map(|_| ()).unwrap_err().to_string();
    for name in ["base_url", "client_id", "client_secret", "api_key"] {
        assert!(missing.contains(&format!("api.{name}: missing")), "{missing}");
    }
}

#[test]
fn the_sample_is_complete_and_says_the_defaults() {
    let (sample, defaults) = (load(SAMPLE, &[]).unwrap(), load("", &[]).unwrap());
    assert!(sample.api().is_ok());
    for (given, default) in sample.shown.iter().zip(&defaults.shown) {
        assert!(SAMPLE.contains(given.key.split_once('.').unwrap().1), "{} is missing", given.key);
        // A whole number is read without its fraction.
        if default.value.trim_end_matches(".0") != given.value {
            assert!(given.key.starts_with("api.") && default.value.is_empty(), "{given:?}");
        }
    }
}

#[test]
fn every_mistake_is_listed_at_once() {
    let text =
        "[poll]\nfirst = \"soon\"\njitter = 2\n[queue]\nlaese = \"60s\"\n[submit]\nrate = \"fast\"";
    let listed = mistakes(text, &[("REELQ_SUBMIT__CONCURRENCY", "0"), ("REELQ_CONFIG", "ignored")]);
    for part in [
        "poll.first: must be a duration",
        "poll.jitter: must be a number from 0 to 1 (from test.toml)",
        "queue.laese: unknown setting; did you mean queue.lease?",
        "submit.rate: must be calls a second",
        "submit.concurrency: must be a whole number of 1 or more (from REELQ_SUBMIT__CONCURRENCY)",
    ] {
        assert!(listed.contains(part), "{part:?} is not in {listed}");
    }
}

#[test]
fn what_only_holds_together_is_checked() {
    let sample_with = |name, value| mistakes(SAMPLE, &[(name, value)]);
    assert!(
        sample_with("REELQ_QUEUE__LEASE", "39s").contains("queue.lease: must be at least 40 s")
    );
    assert!(sample_with("REELQ_WORKER__SHUTDOWN_GRACE", "34s").contains("worker.shutdown_grace"));
    assert!(sample_with("REELQ_SUBMIT__UNCONFIRMED_GRACE", "29s").contains("unconfirmed_grace"));
    assert!(sample_with("REELQ_API__BASE_URL", "http://api.example").contains("must be https"));
    assert!(sample_with("REELQ_WEBHOOK__TRUST", "accept").contains("webhook.secret"));
    assert!(sample_with("REELQ_REDIS__URL", "redis+sentinel://h").contains("reserved"));
    let both = sample_with("REELQ_API__API_KEY_FILE", "/x");
    assert!(
        both.contains("(from test.toml)") && both.contains("REELQ_API__API_KEY_FILE"),
        "{both}"
    );
    assert!(both.contains("choose one") && !both.contains("missing"), "{both}");
    assert!(sample_with("REELQ_LOG__FILTER", "loud=very").contains("log.filter: must be a filter"));
}

#[test]
fn a_file_that_is_no_toml_is_the_only_mistake_and_is_not_quoted() {
    let listed = mistakes("[api]\nclient_secret = \"canary\n", &[]);
    assert!(listed.contains("line 2") && listed.contains("string"), "{listed}");
    assert!(!listed.contains("canary") && !listed.contains("missing"), "{listed}");
}

#[test]
fn the_environment_goes_first_and_secrets_are_never_shown() {
    let environment = [
        ("REELQ_API__CLIENT_SECRET", "canary-1"),
        ("REELQ_REDIS__URL", "redis://u:canary-2@h"),
        ("REELQ_GATEWAY__API_KEYS", "shop:canary-3"),
    ];
    let loaded = load(SAMPLE, &environment).unwrap();
    let shown = format!("{:?}", loaded.shown);
    assert!(!shown.contains("canary") && shown.contains("REELQ_API__CLIENT_SECRET"), "{shown}");
    assert!(!format!("{:?}", loaded.settings).contains("canary"));
    assert!(!loaded.settings.redis.shown().contains("canary"));
    let keys = loaded.settings.gateway.api_keys.unwrap().read().unwrap();
    assert_eq!(keys[0].name, "shop");
}

#[test]
fn an_address_of_the_api_with_more_than_an_address_is_refused_and_not_repeated() {
    for (url, why) in [
        ("https://host/?key=canary", "must be scheme, host and path only"),
        ("https://host/#canary", "must be scheme, host and path only"),
        ("https://canary@host", "must not contain a user name or password"),
        ("https://ann:canary@host", "must not contain a user name or password"),
        ("http://ann:canary@host?canary", "must not contain a user name or password"),
        ("ftp://ann:canary@host", "must begin with https://"),
        ("data:canary", "must begin with https://"),
        ("https://ann:canary@no such host", "must be a URL like https://host"),
        ("canary", "must be a URL like https://host"),
    ] {
        let file = format!("[api]\nbase_url = \"{url}\"");
        for (origin, text, environment) in [
            ("test.toml", file.as_str(), vec![("REELQ_POLL__FIRST", "soon")]),
            (
                "REELQ_API__BASE_URL",
                SAMPLE,
                vec![("REELQ_API__BASE_URL", url), ("REELQ_POLL__FIRST", "soon")],
            ),
        ] {
            let listed = mistakes(text, &environment);
            let line = listed.lines().find(|line| line.contains("api.base_url: ")).unwrap();
            assert!(line.contains(why) && line.contains(origin), "{url}: {listed}");
            assert!(!listed.contains("canary"), "{url}: {listed}");
            assert!(listed.contains("poll.first: must be a duration"), "{url}: {listed}");
            assert!(!listed.contains("base_url: missing"), "{url}: {listed}");
        }
    }
}

#[test]
fn a_path_that_makes_no_call_is_refused_and_a_key_in_one_is_not_shown() {
    for (name, path, why) in [
        ("token_path", "getToken", "must begin with /"),
        ("submit_path", "https://elsewhere", "must begin with /"),
        ("submit_path", "/video#demo", "must not contain #"),
        ("status_path", "status/{id}", "must begin with /"),
        ("status_path", "/status", "must contain {id}"),
    ] {
        let listed = mistakes(&format!("[api]\n{name} = \"{path}\""), &[]);
        assert!(listed.contains(&format!("api.{name}: {why}")), "{listed}");
    }
    let loaded = load(SAMPLE, &[("REELQ_API__TOKEN_PATH", "/getToken?key=canary")]).unwrap();
    let token = loaded.shown.iter().find(|it| it.key == "api.token_path").unwrap();
    assert_eq!(token.value, "/getToken?********");
}

#[test]
fn times_are_checked_although_the_api_is_incomplete() {
    let short = ("REELQ_QUEUE__LEASE", "39s");
    let wrong = ("REELQ_API__BASE_URL", "https://ann:canary@host");
    let listed = mistakes(SAMPLE, &[short, wrong]);
    for part in [
        "queue.lease: must be at least 40 s (api.request_timeout + 10 s)",
        "api.base_url: must not contain a user name or password (from REELQ_API__BASE_URL)",
    ] {
        assert!(listed.contains(part), "{part:?} is not in {listed}");
    }
    assert!(!listed.contains("canary") && !listed.contains("missing"), "{listed}");
    // Whoever calls no API needs no lease that outlasts a call.
    let listed = load("", &[short]).unwrap().api().unwrap_err().to_string();
    assert!(listed.contains("queue.lease") && listed.contains("api.base_url: missing"), "{listed}");
}

#[test]
fn an_api_key_that_no_header_can_carry_is_refused_and_not_shown() {
    let listed = load(SAMPLE, &[("REELQ_API__API_KEY", "canary\u{7}")]).unwrap();
    let listed = listed.api().unwrap_err().to_string();
    assert!(listed.contains("api.api_key: contains what no header can carry"), "{listed}");
    assert!(!listed.contains("canary"), "{listed}");
}

#[test]
fn files_of_redis_are_read_when_they_are_needed_and_all_that_cannot_be_are_named() {
    let files = [
        ("REELQ_REDIS__PASSWORD_FILE", "/nowhere/a"),
        ("REELQ_REDIS__CA_FILE", "/nowhere/b"),
        ("REELQ_REDIS__CERT_FILE", "/nowhere/c"),
        ("REELQ_REDIS__KEY_FILE", "/nowhere/d"),
    ];
    let listed = mistakes("", &files);
    assert!(listed.contains("redis.cert_file: need a redis.url that begins with rediss://"));
    let loaded = load("redis.url = \"rediss://host\"", &files).unwrap();
    let listed = loaded.settings.redis.connect_options().map(|_| ()).unwrap_err().to_string();
    for name in ["password_file", "ca_file", "cert_file", "key_file"] {
        assert!(listed.contains(&format!("redis.{name}: ")), "{name} is not in {listed}");
    }
}
