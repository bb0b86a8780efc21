//! Canaries: every secret has a value that must not be seen anywhere, while an API quotes whatever
//! it gets in every kind of answer, and everything is logged at the finest level.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::io::{BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::ChildStderr;

use super::support::processes::{Site, body, faultless, until};

const CLIENT_SECRET: &str = "canary-client-secret";
const API_KEY: &str = "canary-api-key";
const TOKEN: &str = "canary-token";
const WEBHOOK_SECRET: &str = "canary-webhook-secret";
const GATEWAY_KEY: &str = "canary-gateway-key";
const REDIS_PASSWORD: &str = "canary-redis-password";
const CANARIES: [&str; 6] =
    [CLIENT_SECRET, API_KEY, TOKEN, WEBHOOK_SECRET, GATEWAY_KEY, REDIS_PASSWORD];

#[derive(Default)]
struct Counts {
    tokens: AtomicUsize,
    calls: AtomicUsize,
    /// From now on every call is answered with 401.
    refuses_tokens: AtomicBool,
}

/// Gives a token now and then, and quotes everything else it gets in another kind of answer each
/// time.
async fn quote(State(counts): State<Arc<Counts>>, request: Request) -> Response {
    let is_token_call = request.uri().path() == "/getToken";
    let count = if is_token_call { &counts.tokens } else { &counts.calls };
    let number = count.fetch_add(1, Ordering::Relaxed);
    let quoted = format!("{} {:?}", request.uri(), request.headers());
    let in_json = |status: &str| {
        let message = serde_json::to_string(&quoted).unwrap();
        format!(
            "{{\"status\":\"{status}\",\"message\":{message},\"whilter-request-id\":\"w-{number}\"}}"
        )
    };
    if is_token_call {
        return match number % 4 {
            0 => (StatusCode::INTERNAL_SERVER_ERROR, quoted).into_response(),
            1 => (StatusCode::OK, quoted).into_response(),
            _ => format!("{{\"access_token\":\"{TOKEN}\",\"expires_in\":86400}}").into_response(),
        };
    }
    if counts.refuses_tokens.load(Ordering::Relaxed) {
        return (StatusCode::UNAUTHORIZED, quoted).into_response();
    }
    match number / 2 % 9 {
        0 => (StatusCode::FORBIDDEN, quoted).into_response(),
        1 => (StatusCode::BAD_REQUEST, in_json("FAILED")).into_response(),
        2 => (StatusCode::INTERNAL_SERVER_ERROR, format!("<html>{quoted}</html>")).into_response(),
        3 => (StatusCode::OK, quoted).into_response(),
        4 => (StatusCode::UNAUTHORIZED, quoted).into_response(),
        5 => (StatusCode::OK, in_json("FAILED")).into_response(),
        6 => (StatusCode::FOUND, [("location", format!("/x?{TOKEN}"))], quoted).into_response(),
        7 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")], quoted).into_response(),
        _ => in_json("SUCCESS").into_response(),
    }
}

/// All that a worker logs, to its end.
async fn all_of(mut log: Lines<BufReader<ChildStderr>>) -> String {
    let mut lines = String::new();
    while let Some(line) = log.next_line().await.unwrap() {
        lines.push_str(&line);
        lines.push('\n');
    }
    lines
}

#[tokio::test]
async fn no_secret_is_seen_anywhere() {
    const JOBS: usize = 24;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let counts = Arc::<Counts>::default();
    let routes = Router::new().fallback(quote).with_state(Arc::clone(&counts));
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let (site, http) = Site::new(faultless()).await.serving().await;
    let site = site
        .with("REELQ_API__BASE_URL", &api)
        .with("REELQ_API__CLIENT_SECRET", CLIENT_SECRET)
        .with("REELQ_API__API_KEY", API_KEY)
        .with("REELQ_WEBHOOK__SECRET", WEBHOOK_SECRET)
        .with("REELQ_GATEWAY__API_KEYS", &format!("shop:{GATEWAY_KEY}"))
        .with("REELQ_REDIS__PASSWORD", REDIS_PASSWORD)
        .with("REELQ_LOG__FILTER", "trace")
        .with("REELQ_SUBMIT__BACKOFF_INITIAL", "50ms")
        .with("REELQ_SUBMIT__BACKOFF_MAX", "100ms")
        .with("REELQ_POLL__MAX", "100ms");
    let _: () = site.queue.command(&["CONFIG", "SET", "requirepass", REDIS_PASSWORD]).await;
    let (worker, log) = site.worker_with_log();
    let logged = tokio::spawn(all_of(log));
    for number in 0..JOBS {
        site.xadd(&body(&format!("job-{number}"))).await;
    }
    let all_kinds = async || counts.calls.load(Ordering::Relaxed) >= 40 && site.results().await > 0;
    until("answers of all kinds", Duration::from_secs(60), all_kinds).await;
    // A call is repeated after its first 401, so only a run of them is seen in a history.
    counts.refuses_tokens.store(true, Ordering::Relaxed);
    site.xadd(&body("refused")).await;
    let refused = async || site.queue.dump().await.contains(": 401");
    until("a 401 in a history", Duration::from_secs(180), refused).await;
    let mut seen = vec![("the key space", site.queue.dump().await)];
    for path in ["/metrics", "/readyz", "/healthz"] {
        seen.push((path, http.get(path).await.1));
    }
    for command in
        [&["stats"][..], &["status", "job-1"], &["results"], &["config"], &["worker", "-x"]]
    {
        let output = site.run(command).await;
        seen.push((command[0], String::from_utf8(output.stdout).unwrap()));
        seen.push((command[0], String::from_utf8(output.stderr).unwrap()));
    }
    assert_eq!(worker.stop().await, Some(0));
    seen.push(("the log", logged.await.unwrap()));
    // Wrong passwords, in the places where errors come from.
    for (variable, value) in [
        ("REELQ_REDIS__URL", format!("redis://:{API_KEY}@127.0.0.1:1")),
        ("REELQ_REDIS__URL", format!("redis://:{API_KEY}@no such host")),
        ("REELQ_REDIS__PASSWORD", TOKEN.to_owned()),
    ] {
        let output = site.run_with(&["stats"], variable, &value).await;
        assert_ne!(output.status.code(), Some(0));
        seen.push((variable, String::from_utf8(output.stderr).unwrap()));
    }
    server.abort();
    let log = &seen.iter().find(|(place, _)| *place == "the log").unwrap().1;
    for sign in ["403", "401", "500", "not understood", "********", "TRACE"] {
        assert!(log.contains(sign), "the log shows no {sign}, so the test proves little");
    }
    for (place, text) in &seen {
        for line in text.lines() {
            for canary in CANARIES {
                assert!(!line.contains(canary), "{place} shows {canary}: {line}");
            }
        }
    }
}
