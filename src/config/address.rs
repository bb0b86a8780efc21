//! Where the API is, as checked values: what is made of them is a URL that can be called.

use std::str::FromStr;

use reqwest::Url;

/// Stands for the transaction in `api.status_path`.
const ID: &str = "{id}";

/// `api.base_url`: `https` or `http`, a host, perhaps a port and a path, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(Url);

/// The path of a call below [`BaseUrl`], perhaps with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiPath {
    path: String,
    query: Option<String>,
}

/// `api.status_path`: the path of a call about one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPath {
    before: String,
    after: String,
}

impl FromStr for BaseUrl {
    type Err = &'static str;

    /// Never repeats the text, which may hold a password.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| "must be a URL like https://host")?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err("must begin with https:// (or http://, where that is allowed)");
        }
        // They would become a second `Authorization` header.
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user name or password");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must be scheme, host and path only");
        }
        Ok(Self(url))
    }
}

impl BaseUrl {
    /// Whether it leads to this machine and nowhere else.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(url::Host::Domain(name)) => name == "localhost",
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// Whether what goes there can be read on the way.
    #[must_use]
    pub fn is_open_http(&self) -> bool {
        self.0.scheme() == "http" && !self.is_loopback()
    }

    /// The URL of a call.
    #[must_use]
    pub fn with(&self, call: &ApiPath) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{}", self.0.path().trim_end_matches('/'), call.path));
        url.set_query(call.query.as_deref());
        url
    }
}

impl ApiPath {
    fn split(text: &str) -> Self {
        let (path, query) =
            text.split_once('?').map_or((text, None), |(path, it)| (path, Some(it)));
        Self { path: path.to_owned(), query: query.map(str::to_owned) }
    }
}

impl FromStr for ApiPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.starts_with('/') {
            return Err("must begin with /");
        }
        if text.contains('#') {
            return Err("must not contain #, for what follows it is never sent");
        }
        Ok(Self::split(text))
    }
}

impl FromStr for StatusPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ApiPath::from_str(text)?;
        let (before, after) = text.split_once(ID).ok_or("must contain {id}")?;
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }
}

impl StatusPath {
    /// The path for one transaction, whose id is encoded already.
    #[must_use]
    pub fn with(&self, encoded_id: &str) -> ApiPath {
        ApiPath::split(&format!("{}{encoded_id}{}", self.before, self.after))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(base: &str, path: &str) -> String {
        base.parse::<BaseUrl>().unwrap().with(&path.parse().unwrap()).to_string()
    }

    #[test]
    fn a_base_url_may_have_a_path_and_a_trailing_slash() {
        for base in ["https://host/prefix", "https://host/prefix/"] {
            assert_eq!(url(base, "/getToken"), "https://host/prefix/getToken");
        }
        assert_eq!(url("https://host:81", "/a/b?c=d?e"), "https://host:81/a/b?c=d?e");
        let status: StatusPath = "/v2/{id}/state?id={id}".parse().unwrap();
        let base: BaseUrl = "https://host/p%20q".parse().unwrap();
        let called = base.with(&status.with("a%2Fb"));
        assert_eq!(called.as_str(), "https://host/p%20q/v2/a%2Fb/state?id={id}");
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for (text, expected) in [
            ("http://localhost:1", true),
            ("http://127.9.0.1", true),
            ("http://[::1]:80", true),
            ("https://api.example.com", false),
            ("https://[2001:db8::1]", false),
            ("https://localhost.example.com", false),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap().is_loopback(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_of_an_api_is_refused_and_not_repeated() {
        for text in [
            "https://user:canary@host",
            "https://canary@host",
            "https://:canary@host",
            "https://host?key=canary",
            "https://host/#canary",
            "https://host?",
            "https://host#",
            "ftp://host/canary",
            "data:canary",
            "https://",
            "canary",
            "",
        ] {
            let error = text.parse::<BaseUrl>().unwrap_err();
            assert!(!error.contains("canary"), "{text}: {error}");
        }
        for text in ["", "status", "?a", "/status#a"] {
            text.parse::<ApiPath>().unwrap_err();
        }
        for text in ["", "status/{id}", "/status", "/status#{id}"] {
            text.parse::<StatusPath>().unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn no_path_leads_to_another_host(path in "/[^#]{0,40}") {
            let base: BaseUrl = "https://host:81/prefix".parse().unwrap();
            let url = base.with(&path.parse().unwrap());
            prop_assert_eq!(url.host_str(), Some("host"));
            prop_assert_eq!((url.scheme(), url.port(), url.fragment()), ("https", Some(81), None));
            prop_assert!(url.username().is_empty() && url.password().is_none());
        }

        #[test]
        fn no_text_is_too_strange_to_be_read(text in ".{0,60}") {
            let _ = text.parse::<BaseUrl>();
            let _ = text.parse::<StatusPath>();
        }
    }
}
