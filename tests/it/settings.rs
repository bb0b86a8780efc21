//! Settings that cannot be used: every command refuses them before it reaches for anything else, lists
//! all mistakes at once, and shows no secret. What can be used is shown without its secrets.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Settings that can be used, but for one that is always wrong; nobody listens at these addresses.
const SETTINGS: [(&str, &str); 6] = [
    ("redis.url", "redis://127.0.0.1:1"),
    ("api.base_url", "http://127.0.0.1:1"),
    ("api.client_id", "client"),
    ("api.client_secret", "secret"),
    ("api.api_key", "key"),
    ("poll.first", "soon"),
];
/// What is listed of the one that is always wrong.
const ANOTHER_MISTAKE: &str = "poll.first: must be a duration";

/// A setting, a value that is refused and must not be repeated, and what is said of it.
const REFUSED: [(&str, &str, &str); 17] = [
    ("api.base_url", "https://ann:canary@api.example", "a user name or password"),
    ("api.base_url", "https://canary@api.example/v1", "a user name or password"),
    ("api.base_url", "http://:canary@127.0.0.1:1", "a user name or password"),
    ("api.base_url", "https://api.example/v1?key=canary", "scheme, host and path only"),
    ("api.base_url", "https://api.example/v1#canary", "scheme, host and path only"),
    ("api.base_url", "http://api.example/canary", "must be https://"),
    ("api.base_url", "ftp://ann:canary@api.example", "must begin with https://"),
    ("api.base_url", "https://ann:canary@no such host", "must be a URL"),
    ("api.token_path", "getToken?canary", "must begin with /"),
    ("api.submit_path", "/video/demo#canary", "must not contain #"),
    ("api.status_path", "/status?key=canary", "must contain {id}"),
    ("redis.url", "redis://:canary@no such host", "must be an address"),
    ("redis.url", "redis://:canary@host/canary", "must be an address"),
    ("redis.url", "rediss+sentinel://:canary@host", "rediss+sentinel:// is reserved"),
    ("redis.url", "canary+sentinel", "must begin with redis://"),
    ("gateway.api_keys", "shop:canary-1,canary-2", "each must be name:key"),
    ("webhook.allowed_ips", "canary", "must be IP addresses"),
];

/// Runs the binary where its only settings are these.
fn run(
    settings: &BTreeMap<&str, &str>,
    environment: &[(String, &str)],
    command: &[&str],
) -> Output {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("reelq.toml");
    let lines = settings.iter().map(|(key, value)| format!("{key} = \"{value}\"\n"));
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let mut reelq = Command::new(env!("CARGO_BIN_EXE_reelq"));
    reelq.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    reelq.current_dir(directory.path()).arg("--config").arg(file).args(command).output().unwrap()
}

/// All that was printed.
fn printed(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr[..]].concat()).unwrap()
}

fn variable(key: &str) -> String {
    format!("REELQ_{}", key.replace('.', "__").to_uppercase())
}

#[test]
fn what_cannot_be_used_is_refused_at_once_with_all_other_mistakes_and_not_repeated() {
    let usable = BTreeMap::from(SETTINGS);
    for (key, value, said) in REFUSED {
        let mut in_the_file = usable.clone();
        in_the_file.insert(key, value);
        let in_the_environment = [(variable(key), value)];
        for (place, settings, environment) in
            [("file", &in_the_file, &[][..]), ("environment", &usable, &in_the_environment[..])]
        {
            for command in [&["worker"][..], &["config"], &["config", "--json"], &["stats"]] {
                let output = run(settings, environment, command);
                let printed = printed(&output);
                let case = format!("{command:?}, {key} = {value:?} in the {place}: {printed}");
                assert_eq!(output.status.code(), Some(78), "{case}");
                let listed = printed.lines().any(|line| line.contains(key) && line.contains(said));
                assert!(listed, "what is wrong is not said: {case}");
                assert!(printed.contains(ANOTHER_MISTAKE), "the other mistake is lost: {case}");
                assert!(!printed.contains("canary"), "it is repeated: {case}");
            }
        }
    }
}

#[test]
fn what_is_used_is_shown_without_its_secrets() {
    let mut settings = BTreeMap::from(SETTINGS);
    settings.insert("poll.first", "1s");
    for (key, value, shown) in [
        ("redis.url", "redis://ann:canary@host/1", "redis://ann:********@host/1"),
        ("redis.url", "unix:///run/redis.sock?pass=canary", "unix:///run/redis.sock?********"),
        ("redis.url", "redis://ann:12?canary@host", "********"),
        ("redis.password", "canary", "********"),
        ("api.base_url", "https://ann:12/canary@host", "********"),
        ("api.client_secret", "canary", "********"),
        ("api.api_key", "canary", "********"),
        ("api.token_path", "/getToken?key=canary", "/getToken?********"),
        ("api.submit_path", "/video/demo?key=canary", "/video/demo?********"),
        ("api.status_path", "/status/{id}?key=canary", "/status/{id}?********"),
        ("gateway.api_keys", "shop:canary", "********"),
        ("webhook.secret", "canary", "********"),
    ] {
        for command in [&["config"][..], &["config", "--json"]] {
            let output = run(&settings, &[(variable(key), value)], command);
            let printed = printed(&output);
            assert_eq!(output.status.code(), Some(0), "{key}: {printed}");
            let is_shown = printed.lines().any(|line| line.contains(key) && line.contains(shown));
            assert!(is_shown && !printed.contains("canary"), "{key} = {value:?}: {printed}");
        }
    }
}
