//! A worker or a gateway as whoever runs it sees it: a start without Redis, what the service manager
//! is told, `reelq healthcheck`, and an environment that others fill.

use std::time::Duration;

use reelq::cli::private_redis::free_port;
use reqwest::Method;
use rustix::process::Signal;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use super::support::processes::{Http, Site, WorkerProcess, body, faultless, until};
use super::support::proxy::Proxy;

const SOON: Duration = Duration::from_secs(20);
const KINDS: [&str; 2] = ["worker", "gateway"];

/// Starts either, with its health and metrics at this address.
fn start(site: &Site, kind: &str) -> WorkerProcess {
    site.process(&[kind], &[("REELQ_GATEWAY__LISTEN", "127.0.0.1:0")])
}

impl Http {
    async fn becomes(&self, path: &str, code: u16, words: &str) {
        until(&format!("{path} to be {code} {words}"), SOON, async || {
            let answer = self.try_get(path).await;
            answer.is_some_and(|(got, text)| got == code && text.contains(words))
        })
        .await;
    }
}

#[tokio::test]
async fn a_start_without_redis_waits_for_it_and_says_so() {
    for kind in KINDS {
        let (site, http) = Site::new(faultless()).await.serving().await;
        let proxy = Proxy::start(&site.queue.url).await;
        proxy.lead_nowhere();
        let site = site.with("REELQ_REDIS__URL", &proxy.url());
        let process = start(&site, kind);
        http.becomes("/readyz", 503, "Redis is not available").await;
        http.becomes("/healthz", 200, "ok").await;
        http.becomes("/metrics", 200, "reelq_build_info{").await;
        assert_eq!(process.stop().await, Some(0), "{kind}: nothing is in hand");

        let process = start(&site, kind);
        http.becomes("/readyz", 503, "Redis is not available").await;
        proxy.lead_to(&site.queue.url);
        http.becomes("/readyz", 200, "ready").await;
        http.becomes("/metrics", 200, "reelq_inbox{queue=\"video\"} 0").await;
        assert_eq!(process.stop().await, Some(0), "{kind}");
    }
}

/// What was true before would be taken for what is true now.
#[tokio::test]
async fn gauges_of_a_queue_that_cannot_be_asked_are_no_numbers() {
    let (site, http) = Site::new(faultless()).await.serving().await;
    let proxy = Proxy::start(&site.queue.url).await;
    let site = site.with("REELQ_REDIS__URL", &proxy.url());
    for group in ["stays", "goes"] {
        site.queue.queue.create_results_group(group).await.unwrap();
    }
    let process = start(&site, "worker");
    let workers = |value: &str| format!("reelq_workers{{queue=\"video\"}} {value}\n");
    let group = |name: &str, value: &str| {
        let labels = format!("queue=\"video\",group=\"{name}\"");
        format!("reelq_results_group_age_seconds{{{labels}}} {value}\n")
    };
    http.becomes("/metrics", 200, &group("goes", "0")).await;
    let destroy = ["XGROUP", "DESTROY", "reelq:{video}:results", "goes"];
    assert!(site.queue.command::<bool>(&destroy).await);
    http.becomes("/metrics", 200, &group("goes", "NaN")).await;
    http.becomes("/metrics", 200, &group("stays", "0")).await;
    http.becomes("/metrics", 200, &workers("1")).await;
    proxy.lead_nowhere();
    http.becomes("/metrics", 200, &workers("NaN")).await;
    http.becomes("/metrics", 200, &group("stays", "NaN")).await;
    proxy.lead_to(&site.queue.url);
    http.becomes("/metrics", 200, &workers("1")).await;
    http.becomes("/metrics", 200, &group("stays", "0")).await;
    assert_eq!(process.stop().await, Some(0));
}

#[tokio::test]
async fn a_start_with_a_refused_login_waits_for_the_right_one() {
    for kind in KINDS {
        let (site, http) = Site::new(faultless()).await.serving().await;
        let _: () = site.queue.command(&["CONFIG", "SET", "requirepass", "secret"]).await;
        let process = start(&site, kind);
        http.becomes("/readyz", 503, "redis.password").await;
        let _: () = site.queue.command(&["CONFIG", "SET", "requirepass", ""]).await;
        http.becomes("/readyz", 200, "ready").await;
        assert_eq!(process.stop().await, Some(0), "{kind}");
    }
}

#[tokio::test]
async fn a_gateway_that_waits_for_redis_answers() {
    let site = Site::new(faultless()).await;
    let proxy = Proxy::start(&site.queue.url).await;
    proxy.lead_nowhere();
    let gateway = Http(format!("127.0.0.1:{}", free_port().await.unwrap()));
    let site = site.with("REELQ_REDIS__URL", &proxy.url());
    let process = site.process(&["gateway"], &[("REELQ_GATEWAY__LISTEN", &gateway.0)]);
    gateway.becomes("/v1/jobs/a", 503, "unavailable").await;
    let (code, answer) = gateway.send(Method::POST, "/v1/jobs", body("a")).await;
    assert_eq!((code, &answer["error"]["code"]), (503, &"unavailable".into()));
    proxy.lead_to(&site.queue.url);
    gateway.becomes("/v1/jobs/a", 404, "unknown-job").await;
    assert_eq!(gateway.send(Method::POST, "/v1/jobs", body("a")).await.0, 202);
    assert_eq!(process.stop().await, Some(0));
}

/// systemd's side of `Type=notify`: ready when signals are heard, whether Redis answers or not.
#[tokio::test]
async fn the_service_manager_is_told() {
    for kind in KINDS {
        let site = Site::new(faultless()).await.with("REELQ_REDIS__URL", "redis://127.0.0.1:1");
        let path = site.directory().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let heard = async || {
            let mut buffer = [0; 100];
            let length = timeout(SOON, manager.recv(&mut buffer)).await.unwrap().unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        let environment = [
            ("REELQ_GATEWAY__LISTEN", "127.0.0.1:0"),
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("WATCHDOG_USEC", "200000"),
        ];
        let process = site.process(&[kind], &environment);
        let mut first = vec![heard().await, heard().await];
        first.sort();
        assert_eq!(first, ["READY=1\n", "WATCHDOG=1\n"], "{kind}");
        for _ in 0..3 {
            assert_eq!(heard().await, "WATCHDOG=1\n", "{kind}: as long as it works");
        }
        process.signal(Signal::TERM);
        until("the end to be announced", SOON, async || heard().await == "STOPPING=1\n").await;
        assert_eq!(process.ended().await, Some(0), "{kind}");
    }
}

#[tokio::test]
async fn healthcheck_asks_the_process_of_its_configuration() {
    let (site, http) = Site::new(faultless()).await.serving().await;
    let port = http.0.rsplit(':').next().unwrap();
    let everywhere = site.with("REELQ_HTTP__LISTEN", &format!("0.0.0.0:{port}"));
    let asked = everywhere.run(&["healthcheck"]).await;
    assert_eq!(asked.status.code(), Some(1), "nobody is there");
    assert!(String::from_utf8(asked.stderr).unwrap().contains(&format!("127.0.0.1:{port}")));
    for kind in KINDS {
        let process = start(&everywhere, kind);
        http.becomes("/readyz", 200, "ready").await;
        let asked = everywhere.run(&["healthcheck"]).await;
        assert_eq!((asked.status.code(), &asked.stdout[..]), (Some(0), &b"ok\n"[..]), "{kind}");
        assert_eq!(process.stop().await, Some(0));
    }
    let off = everywhere.run_with(&["healthcheck"], "REELQ_HTTP__LISTEN", "").await;
    assert_eq!(off.status.code(), Some(1));
    assert!(String::from_utf8(off.stderr).unwrap().contains("http.listen is empty"));
}

/// Kubernetes sets such variables for a service that is called reelq, or reelq-gateway.
#[tokio::test]
async fn variables_that_are_no_settings_are_none_of_ours() {
    let mut site = Site::new(faultless()).await;
    for (variable, value) in [
        ("REELQ_PORT", "tcp://1.2.3.4:80"),
        ("REELQ_SERVICE_HOST", "1.2.3.4"),
        ("REELQ_SERVICE_PORT_HTTP", "80"),
        ("REELQ_PORT_80_TCP", "tcp://1.2.3.4:80"),
        ("REELQ_PORT_80_TCP_ADDR", "1.2.3.4"),
        ("REELQ_GATEWAY_PORT", "tcp://1.2.3.4:8787"),
        ("REELQ_GATEWAY_SERVICE_HOST", "1.2.3.4"),
        ("REELQ_API_PORT", "tcp://1.2.3.4:80"),
        ("REELQ_REDIS_PORT_6379_TCP_PROTO", "tcp"),
    ] {
        site = site.with(variable, value);
    }
    site.xadd(&body("a")).await;
    let processes = KINDS.map(|kind| start(&site, kind));
    site.results_reach(1, SOON).await;
    for process in processes {
        assert_eq!(process.stop().await, Some(0));
    }
}

#[tokio::test]
async fn completions_and_the_manual_name_every_command() {
    let site = Site::new(faultless()).await;
    let help = String::from_utf8(site.run(&["--help"]).await.stdout).unwrap();
    let listed = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands: Vec<&str> = listed
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert!(commands.len() > 10, "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let output = site.run(&["completions", shell]).await;
        assert_eq!(output.status.code(), Some(0));
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(commands.iter().all(|it| script.contains(it)), "{shell}: {script}");
    }
    let manual = site.directory().join("man");
    let output = site.run(&["manual", manual.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for command in commands {
        let page = std::fs::read_to_string(manual.join(format!("reelq-{command}.1"))).unwrap();
        assert!(page.contains(".SH OPTIONS"), "{command}: {page}");
    }
    let page = std::fs::read_to_string(manual.join("reelq.1")).unwrap();
    assert!(page.contains("REELQ"), "{page}");
}
