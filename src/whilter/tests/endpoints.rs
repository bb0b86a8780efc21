//! Where the three calls go.

use super::super::endpoints::Endpoints;
use super::*;

fn endpoints(base_url: &str, status_path: &str) -> Endpoints {
    let (base_url, status_path) = (base_url.parse().unwrap(), status_path.parse().unwrap());
    Endpoints::new(&Api { base_url, status_path, ..api(1) })
}

#[test]
fn every_call_goes_below_the_base_url() {
    for base in ["https://host/prefix", "https://host/prefix/"] {
        let endpoints = endpoints(base, "/status/{id}");
        assert_eq!(endpoints.submit.as_str(), "https://host/prefix/video/demo");
        assert_eq!(endpoints.token.as_str(), "https://host/prefix/getToken");
        assert_eq!(endpoints.status("a").unwrap().as_str(), "https://host/prefix/status/a");
    }
    let endpoints = endpoints("https://host", "/v2/{id}/state");
    assert_eq!(endpoints.status("a").unwrap().as_str(), "https://host/v2/a/state");
}

#[test]
fn an_id_is_one_segment_whatever_it_contains() {
    let endpoints = endpoints("https://host/p", "/status/{id}");
    for (id, encoded) in [
        ("a/../../b", "a%2F..%2F..%2Fb"),
        ("?x=1&y#z", "%3Fx%3D1%26y%23z"),
        ("%2e%2e", "%252e%252e"),
        ("\\..\\", "%5C..%5C"),
        ("@evil:80", "%40evil%3A80"),
        ("...", "..."),
        ("ä\r\n", "%C3%A4%0D%0A"),
    ] {
        let url = endpoints.status(id).unwrap();
        assert_eq!(url.as_str(), format!("https://host/p/status/{encoded}"), "{id:?}");
    }
    for climbing in ["", ".", ".."] {
        assert!(endpoints.status(climbing).is_none(), "{climbing:?}");
    }
}
