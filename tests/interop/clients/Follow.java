// A stream through the JDK's java.net.http: java Follow.java URL TOKEN [gzip]. With gzip, through
// java.util.zip.GZIPInputStream. Prints one line an event: name, last event id, data, with tabs
// between.

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.zip.GZIPInputStream;

public class Follow {
    static final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static String id = "";
    static String name = "";
    static String data = "";

    public static void main(String[] args) throws Exception {
        boolean gzip = args.length > 2;
        HttpClient client = HttpClient.newHttpClient(); // it offers HTTP/2 by Upgrade: h2c
        while (true) {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(args[0]))
                .header("Authorization", "Bearer " + args[1]);
            if (!id.isEmpty()) request.header("Last-Event-ID", id);
            if (gzip) request.header("Accept-Encoding", "gzip");
            try {
                var response = client.send(request.build(), BodyHandlers.ofInputStream());
                String coding = response.headers().firstValue("Content-Encoding").orElse("");
                out.println("#open\t" + response.statusCode() + "\t" + coding.equals("gzip"));
                try (InputStream body = response.body()) {
                    read(coding.equals("gzip") ? new GZIPInputStream(body) : body);
                }
                out.println("#end");
            } catch (IOException error) {
                out.println("#error\t\t" + error);
            }
            Thread.sleep(300);
        }
    }

    // A Reader around a GZIPInputStream waits for more than is there: available() is always 1.
    static void read(InputStream body) throws IOException {
        byte[] piece = new byte[16384];
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int size; (size = body.read(piece)) >= 0; ) {
            for (int at = 0; at < size; at++) {
                if (piece[at] != '\n') {
                    line.write(piece[at]);
                } else {
                    field(line.toString(StandardCharsets.UTF_8));
                    line.reset();
                }
            }
        }
    }

    static void field(String line) {
        if (line.startsWith("event: ")) name = line.substring(7);
        else if (line.startsWith("id: ")) id = line.substring(4);
        else if (line.startsWith("data: ")) data = line.substring(6);
        else if (line.isEmpty()) {
            out.println(name + "\t" + id + "\t" + data);
            name = data = "";
        }
    }
}
