// Send a sound to be heard, and hand on what is said of it, line by line.

export class Problem extends Error {}

// `sent` is given the share of the file that is sent; `line` each object that comes back.
export function hear(file, { sent, line, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much is sent
    let read = 0;
    let ended = false;

    function readLines() {
      if (request.status !== 200) return;
      for (let stop; (stop = request.responseText.indexOf("\n", read)) >= 0; read = stop + 1) {
        const said = JSON.parse(request.responseText.slice(read, stop));
        if (said.error) return reject(new Problem(said.error));
        if (said.end) ended = true;
        else line(said);
      }
    }

    request.open("POST", "/api/hear");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => sent(event.loaded / event.total));
    request.addEventListener("progress", readLines);
    request.addEventListener("load", () => {
      readLines();
      if (request.status !== 200) reject(new Problem(reason(request)));
      else if (ended) resolve();
      else reject(new Problem("the answer broke off"));
    });
    request.addEventListener("error", () => reject(new Problem("the server cannot be reached, or broke off")));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function reason(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return `the server answered ${request.status}`;
  }
}
