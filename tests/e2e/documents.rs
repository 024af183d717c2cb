//! The documents window: conditional requests, and file names as clients send them.

use futures_util::future::join_all;
use hms_harness::{Answer, Host, window};
use http::Method;

const DOCS: &str = "/api/v1/docs";
const PAST: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Fri, 31 Dec 9999 23:59:59 GMT";

struct Documents {
    host: Host,
    bearer: String,
}

impl Documents {
    async fn open() -> Documents {
        let host = Host::start().await;
        host.deploy("docs", &window("docs").await).await;
        let bearer = host.token("alice", &["docs.read", "docs.write"]);
        Documents {
            host,
            bearer: format!("Bearer {bearer}"),
        }
    }

    async fn ask(&self, method: Method, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut headers = vec![("authorization", self.bearer.as_str())];
        headers.extend(fields);
        self.host.call(method, path, &headers, "").await
    }

    async fn file(&self, disposition: &str, fields: &[(&str, &str)]) -> Answer {
        let mut headers = vec![
            ("authorization", self.bearer.as_str()),
            ("content-type", "multipart/form-data; boundary=b0undary"),
        ];
        headers.extend(fields);
        let form = format!(
            "--b0undary\r\nContent-Disposition: form-data; name=\"file\"; {disposition}\r\n\r\n\
             0123456789\r\n--b0undary--\r\n"
        );
        self.host.call(Method::POST, DOCS, &headers, form).await
    }

    /// Where a new document is.
    async fn filed(&self) -> String {
        let filed = self.file("filename=\"a.txt\"", &[]).await;
        assert_eq!(filed.status, 201, "{}", filed.text());
        filed.json()["url"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn document_is_removed_only_where_the_condition_holds() {
    let documents = Documents::open().await;
    let path = documents.filed().await;
    let etag = documents
        .ask(Method::GET, &path, &[])
        .await
        .header("etag")
        .to_owned();
    let weak = format!("W/{etag}");
    for (fields, status, code) in [
        (&[("if-match", "\"other\"")][..], 412, "precondition-failed"),
        (&[("if-match", &weak)], 412, "precondition-failed"),
        (&[("if-match", "")], 412, "precondition-failed"),
        (&[("if-match", "other")], 400, "bad-request"),
        (&[("if-none-match", &weak)], 412, "precondition-failed"),
        (&[("if-none-match", "*")], 412, "precondition-failed"),
        (&[("if-unmodified-since", PAST)], 412, "precondition-failed"),
        (
            &[("if-match", "\"other\""), ("if-unmodified-since", FUTURE)],
            412,
            "precondition-failed",
        ),
    ] {
        let refused = documents.ask(Method::DELETE, &path, fields).await;
        let told = (refused.status.as_u16(), refused.problem());
        assert_eq!(told, (status, code.to_owned()), "{fields:?}");
        assert_eq!(documents.ask(Method::GET, &path, &[]).await.status, 200);
    }
    let fields = [
        ("if-match", "\"other\", \"another\""),
        ("if-match", &etag),
        ("if-unmodified-since", PAST),
    ];
    let removed = documents.ask(Method::DELETE, &path, &fields).await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    let any = [("if-match", "*")];
    assert_eq!(documents.ask(Method::DELETE, &path, &any).await.status, 404);

    let refused = documents
        .file("filename=\"a\"", &[("if-match", &etag)])
        .await;
    assert_eq!(refused.problem(), "precondition-failed");
    let list = documents.ask(Method::GET, DOCS, &[]).await.json();
    assert_eq!(list["docs"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn document_reads_obey_the_conditions_of_rfc_9110() {
    let documents = Documents::open().await;
    let path = documents.filed().await;
    let whole = documents.ask(Method::GET, &path, &[]).await;
    let (etag, changed) = (whole.header("etag"), whole.header("last-modified"));
    let weak = format!("W/{etag}");
    let part = ("range", "bytes=2-4");
    for (fields, status, body) in [
        (&[("if-none-match", etag)][..], 304, ""),
        (&[("if-none-match", &weak)], 304, ""),
        (
            &[("if-none-match", "\"x\""), ("if-none-match", etag)],
            304,
            "",
        ),
        (&[("if-none-match", "\"x\", y")], 200, "0123456789"),
        (&[("if-modified-since", changed)], 304, ""),
        (&[("if-modified-since", PAST)], 200, "0123456789"),
        (
            &[("if-none-match", "\"x\""), ("if-modified-since", FUTURE)],
            200,
            "0123456789",
        ),
        (&[part], 206, "234"),
        (&[part, part], 200, "0123456789"),
        (&[part, ("if-range", etag)], 206, "234"),
        (&[part, ("if-range", &weak)], 200, "0123456789"),
        (&[part, ("if-range", PAST)], 200, "0123456789"),
        (
            &[part, ("if-range", etag), ("if-none-match", etag)],
            304,
            "",
        ),
        // What would be 416 is the whole of another document.
        (
            &[("range", "bytes=90-"), ("if-range", "\"x\"")],
            200,
            "0123456789",
        ),
    ] {
        let answer = documents.ask(Method::GET, &path, fields).await;
        let seen = (answer.status.as_u16(), answer.text());
        assert_eq!(seen, (status, body.to_owned()), "{fields:?}");
        assert_eq!(answer.header("etag"), etag);
        assert_eq!(answer.header("last-modified"), changed);
    }
    let failed = documents
        .ask(Method::GET, &path, &[("if-match", &weak)])
        .await;
    assert_eq!(failed.problem(), "precondition-failed");
    let head = documents.ask(Method::HEAD, &path, &[part]).await;
    assert_eq!(
        (head.status.as_u16(), head.header("content-length")),
        (200, "10")
    );
    let known = [("if-none-match", etag)];
    assert_eq!(documents.ask(Method::HEAD, &path, &known).await.status, 304);
}

#[tokio::test]
async fn concurrent_removals_of_a_document_have_one_winner() {
    let documents = Documents::open().await;
    for _ in 0..5 {
        let path = documents.filed().await;
        let any = [("if-match", "*")];
        let all = join_all((0..8).map(|_| documents.ask(Method::DELETE, &path, &any))).await;
        let count = |status| all.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(204), count(404)), (1, 7), "{all:?}");
    }
}

#[tokio::test]
async fn file_name_is_kept_in_whichever_form_it_arrives() {
    let documents = Documents::open().await;
    let word = "filename=\"=?utf-8?B?xbzDs8WCdy5qcGc=?=\"";
    let dotnet = format!("{word}; filename*=utf-8''%C5%BC%C3%B3%C5%82w.jpg");
    for (sent, name) in [
        (word, "żółw.jpg"),
        (&dotnet, "żółw.jpg"),
        ("filename*=UTF-8''..%2Fa%0Db%00.jpg", "ab.jpg"),
        ("filename=\"say %22a%22.jpg\"", "say \"a\".jpg"),
        ("filename=\"x; name=y\"", "x; name=y"),
    ] {
        let filed = documents.file(sent, &[]).await;
        assert_eq!(filed.status, 201, "{sent}: {}", filed.text());
        assert_eq!(filed.json()["name"], name, "{sent}");
    }
    for sent in [
        "filename=\"a\"; filename=\"b\"",
        "filename*=UTF-8''%2F",
        "x=y",
    ] {
        let refused = documents.file(sent, &[]).await;
        assert_eq!(refused.problem(), "bad-request", "{sent}");
    }
}
