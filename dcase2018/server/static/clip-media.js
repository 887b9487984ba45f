// The description and the audio of clips, loaded once for the clips in use.

const MAX_KEPT = 12;

const descriptions = new Map(); // promises by clip
const audio = new Map();

// Throws the reason if a request fails.
export async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new RequestFailure(0, "the connection to the server failed");
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({ error: response.statusText }));
  throw new RequestFailure(response.status, error);
}

export class RequestFailure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function remember(kept, id, load) {
  const promise = kept.get(id) ?? load();
  kept.delete(id);
  kept.set(id, promise); // last in the order of use
  promise.catch(() => kept.delete(id));
  for (const oldest of [...kept.keys()].slice(0, -MAX_KEPT)) kept.delete(oldest);
  return promise;
}

export const loadDescription = (id) => remember(descriptions, id, async () => (await request(`/api/clips/${id}`)).json());
export const loadAudio = (id) => remember(audio, id, async () => (await request(`/api/clips/${id}/audio`)).blob());
