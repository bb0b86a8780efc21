//! What the client sends, and how it goes on after a 401.

use super::*;

/// The headers that the documentation names.
const DOCUMENTED: [&str; 3] = ["x-api-key", "authorization", "content-type"];

/// Whether a request is the documented one: method, path, headers and body.
fn assert_as_documented(seen: &Seen, fixture: &str) {
    let (documented, _) = exchange(fixture);
    assert_eq!(
        (&seen.method, &seen.target, &seen.body),
        (&documented.method, &documented.target, &documented.body)
    );
    for name in DOCUMENTED {
        assert_eq!(seen.header(name), documented.header(name), "{name}");
    }
}

#[tokio::test]
async fn the_three_calls_are_those_of_the_documentation() {
    let server = Server::with_token(|seen, earlier| {
        let fixture = match (seen.method.as_str(), earlier) {
            ("POST", _) => SUBMIT,
            (_, 1) => PENDING,
            (_, _) => READY,
        };
        Reply::Keep(exchange(fixture).1)
    })
    .await;
    let client = server.client();
    assert_eq!(submit(&client).await, accepted("w-1"));
    assert_eq!(status(&client, "w-1").await, StatusOutcome::NotYet);
    let ready = StatusOutcome::Ready {
        video_url: Some("https://cdn.example.com/w-1.mp4".to_owned()),
        image_url: Some("https://cdn.example.com/w-1.png".to_owned()),
    };
    assert_eq!(status(&client, "w-1").await, ready);

    let [token] = &server.token_calls()[..] else { panic!("one token for all") };
    assert_as_documented(token, TOKEN);
    let calls = server.calls();
    for (seen, fixture) in calls.iter().zip([SUBMIT, PENDING, READY]) {
        assert_as_documented(seen, fixture);
    }
    let agent = concat!("reelq/", env!("CARGO_PKG_VERSION"));
    for seen in calls.iter().chain([token]) {
        assert_eq!(seen.header("user-agent"), [agent]);
        for absent in ["referer", "cookie", "accept-encoding", "transfer-encoding"] {
            assert!(seen.header(absent).is_empty(), "{absent}");
        }
    }
}

#[tokio::test]
async fn an_id_stays_one_segment_of_the_path() {
    let server = Server::with_token(|_, _| Reply::Keep(exchange(READY).1)).await;
    let client = server.client();
    assert!(matches!(status(&client, "a/../b?c#d%2e").await, StatusOutcome::Ready { .. }));
    assert_eq!(server.calls()[0].target, "/status/a%2F..%2Fb%3Fc%23d%252e");
    assert!(matches!(status(&client, "..").await, StatusOutcome::BadRequest { .. }));
    assert_eq!(server.calls().len(), 1, "nothing was sent for a dot segment");
}

/// Whoever breaks a call off learns whether the API may have its request.
#[tokio::test]
async fn a_post_has_begun_when_it_is_on_its_way_and_not_while_it_waits_for_a_token() {
    let go = Arc::new(Notify::new());
    let held = Arc::clone(&go);
    let server = Server::start(move |seen, earlier| match (seen.is_token_call(), earlier) {
        (true, 0) => Reply::Held(Arc::clone(&held), exchange(TOKEN).1),
        (true, _) => Reply::Silence,
        (false, 0) => Reply::Held(Arc::clone(&held), answer("401 Unauthorized", "{}")),
        (false, _) => panic!("there is no token for another POST"),
    })
    .await;
    let (client, began) = (server.client(), Began::default());
    let (id, deadline) = (order(), Instant::now() + PATIENCE);
    let mut call = Box::pin(client.submit(&id, Bytes::from("{}"), deadline, &began));
    let mut until = async |what: &str, is_so: &dyn Fn() -> bool| {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        let reached = async {
            while !is_so() {
                look.tick().await;
            }
        };
        tokio::select! {
            outcome = &mut call => panic!("over before {what}: {outcome:?}"),
            reached = timeout(PATIENCE, reached) => reached.expect(what),
        }
    };
    until("the token call", &|| server.token_calls().len() == 1).await;
    assert_eq!(began.at(), None, "it waits for its token");
    go.notify_one();
    until("the POST", &|| server.calls().len() == 1).await;
    assert!(began.at().is_some_and(|at| at <= Instant::now()));
    go.notify_one();
    until("the next token call", &|| server.token_calls().len() == 2).await;
    assert_eq!(began.at(), None, "a 401 says that it was not accepted");
}

/// Serves tokens `token-0`, `token-1`, .. and refuses the first `refused` of them.
async fn server_that_refuses(refused: usize) -> Server {
    Server::start(move |seen, earlier| {
        if seen.is_token_call() {
            let body = format!(r#"{{"access_token":"token-{earlier}","expires_in":60}}"#);
            return Reply::Keep(answer("200 OK", &body));
        }
        let bearer = seen.header("authorization")[0].to_owned();
        if (0..refused).any(|it| bearer == format!("Bearer token-{it}")) {
            return Reply::Keep(answer("401 Unauthorized", r#"{"message":"expired"}"#));
        }
        Reply::Keep(exchange(if seen.method == "POST" { SUBMIT } else { READY }).1)
    })
    .await
}

#[tokio::test]
async fn a_401_brings_a_new_token_and_the_call_once_more() {
    let server = server_that_refuses(1).await;
    let client = server.client();
    assert_eq!(submit(&client).await, accepted("w-1"));
    assert_eq!(submit(&client).await, accepted("w-1"));
    let bearers: Vec<_> =
        server.calls().iter().map(|it| it.header("authorization")[0].to_owned()).collect();
    assert_eq!(bearers, ["Bearer token-0", "Bearer token-1", "Bearer token-1"]);
    assert_eq!(server.token_calls().len(), 2);
}

#[tokio::test]
async fn a_second_401_is_a_refusal() {
    let server = server_that_refuses(usize::MAX).await;
    let client = server.client();
    let detail = "401: expired".to_owned();
    let refusal = Refusal::Token;
    let refused = SubmitOutcome::Refused { detail: detail.clone(), refusal };
    assert_eq!(submit(&client).await, refused);
    assert_eq!((server.calls().len(), server.token_calls().len()), (2, 2));
    assert_eq!(status(&client, "w-1").await, StatusOutcome::Refused { detail, refusal });
    assert_eq!((server.calls().len(), server.token_calls().len()), (4, 3));
}

#[tokio::test]
async fn many_401s_at_once_are_one_new_token() {
    const CALLERS: usize = 20;
    let server = server_that_refuses(1).await;
    let client = server.client();
    let calls = (0..CALLERS).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { submit(&client).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), accepted("w-1"));
    }
    assert_eq!(server.token_calls().len(), 2);
    assert_eq!(
        server.calls().iter().filter(|it| it.header("authorization") == ["Bearer token-1"]).count(),
        CALLERS
    );
}

#[tokio::test]
async fn nothing_that_comes_out_contains_a_secret() {
    let secrets = ["the-secret", "the-key", "the-token"];
    // As API gateways do: they quote the header that they do not like.
    let server = Server::with_token(|seen, _| {
        let quoted = format!("{} {}", seen.header("authorization")[0], seen.header("x-api-key")[0]);
        let code = if seen.method == "POST" { "403 Forbidden" } else { "500 Oh" };
        let text = format!(r#"{{"message":"not a valid key=value pair: '{quoted}'"}}"#);
        Reply::Keep(answer(code, &text))
    })
    .await;
    let client = server.client();
    let mut shown = format!("{client:?} {:?}", submit(&client).await);
    shown += &format!("{:?}", status(&client, "w-1").await);
    assert_eq!(shown.matches("pair: 'Bearer ******** ********'").count(), 2, "{shown}");

    // The token URL holds the secret: no fault of the token call may tell it.
    for reply in ["404 Not Found", "500 Oh", "302 Found\r\nlocation: /there", "xxx", "200 OK"] {
        let server = Server::start(move |seen, _| {
            Reply::Close(answer(reply, &format!("Cannot GET {}", seen.target)))
        })
        .await;
        shown += &format!("{:?}", submit(&server.client()).await);
    }
    assert_eq!(shown.matches("token call").count(), 5, "{shown}");
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
