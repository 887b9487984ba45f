// Upload a recording, and pass on the results line by line.

export class RequestError extends Error {}

// `onUpload` is called with the fraction that is uploaded, `onMessage` with each object of the response.
export function uploadAndStream(file, { onUpload, onMessage, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch reports no upload progress
    let position = 0;
    let isComplete = false;

    function readLines() {
      if (request.status !== 200) return;
      for (let end; (end = request.responseText.indexOf("\n", position)) >= 0; position = end + 1) {
        const message = JSON.parse(request.responseText.slice(position, end));
        if (message.error) return reject(new RequestError(message.error));
        if (message.end) isComplete = true;
        else onMessage(message);
      }
    }

    request.open("POST", "/api/stream");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => onUpload(event.loaded / event.total));
    request.addEventListener("progress", readLines);
    request.addEventListener("load", () => {
      readLines();
      if (request.status !== 200) reject(new RequestError(errorText(request)));
      else if (isComplete) resolve();
      else reject(new RequestError("the response is incomplete"));
    });
    request.addEventListener("error", () => connectionError(file).then(reject));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

// A browser also fails to send a file that was changed or removed after it was chosen.
async function connectionError(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return new RequestError("the server does not respond; is dcase2018 serve still running?");
  } catch {
    return new RequestError("the browser cannot read the file; was it changed or removed?");
  }
}

function errorText(request) {
  try {
    return JSON.parse(request.responseText).error;
  } catch {
    return `the server responded with status ${request.status}`;
  }
}
