/* Small comforts; every page works without them, except passkeys, whose ceremony is django-otp-webauthn's own script. */

/* Times in the zone of whoever reads them, with the zone named. */
const lang = document.documentElement.lang || undefined;
const locale = navigator.languages.find((known) => known.split("-")[0] === lang) ?? lang;
for (const time of document.querySelectorAll("time[data-local]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.valueOf())) {
    time.textContent = at.toLocaleString(locale, {
      day: "numeric", month: "short", year: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short",
    });
  }
}

/* Copy and print buttons, hidden without this script. What is copied has spaces for reading only; of a list, each item
   is a line. */
const meant = (source) => source.textContent.replace(/\s/g, "");
const said = document.createElement("p");
said.className = "visually-hidden";
said.setAttribute("aria-live", "polite");
document.body.append(said);
for (const button of document.querySelectorAll("button[data-copy]")) {
  const label = button.textContent;
  const source = document.querySelector(button.dataset.copy);
  button.hidden = false;
  button.addEventListener("click", async () => {
    let done = button.dataset.copied;
    try {
      const items = [...source.querySelectorAll("li")];
      await navigator.clipboard.writeText(items.map(meant).join("\n") || meant(source));
    } catch { /* no Clipboard API over plain http, or not permitted: one key press is left to do */
      window.getSelection().selectAllChildren(source);
      done = button.dataset.selected;
    }
    button.textContent = said.textContent = done;
    setTimeout(() => { button.textContent = label; said.textContent = ""; }, 4000);
  });
}

for (const button of document.querySelectorAll("button[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

/* The time that is left to register: in words, every half minute; the last minutes aloud. When it is up, the page anew:
   the server says what to do then. Not where this clock thinks so from the start, or it would never end. */
const MINUTE = 60_000;
for (const place of document.querySelectorAll("[data-deadline]")) {
  const deadline = new Date(place.dataset.deadline).valueOf();
  const inWords = new Intl.RelativeTimeFormat(locale, { numeric: "always" });
  let announced = Infinity;
  const tell = () => {
    const left = deadline - Date.now();
    if (left <= 0) {
      window.location.replace(window.location.pathname + window.location.search); // a fragment would ask for nothing
      return;
    }
    const minutes = Math.ceil(left / MINUTE);
    const when = minutes > 90 ? inWords.format(Math.round(minutes / 60), "hour") : inWords.format(minutes, "minute");
    place.textContent = place.dataset.text.replace("{when}", when);
    if ((minutes === 5 || minutes === 1) && minutes < announced) {
      announced = minutes;
      said.textContent = place.textContent;
    }
    setTimeout(tell, Math.min(left, MINUTE / 2));
  };
  if (deadline > Date.now()) {
    place.hidden = false;
    tell();
  }
}

/* A passkey was registered: show the page anew, with the passkey in its list. */
document.addEventListener("otp_webauthn.register_complete", (event) => {
  window.location.assign(event.target.closest("[data-then]").dataset.then);
});

/* A passkey was refused: because of this session, then the page anew says why and what to do; or for itself, then the
   server's own word is better than the script's. */
document.addEventListener("otp_webauthn.register_failed", async (event) => {
  const response = event.detail?.response;
  if (response?.status === 403) {
    const here = window.location.pathname + window.location.search;
    window.location.replace(response.headers.get("Session-Ended") ?? here);
    return;
  }
  const told = await response?.json?.().catch(() => null); // read already, if it was shown already
  if (told?.detail) {
    document.getElementById("passkey-register-status-message").textContent = told.detail;
  }
});

/* A passkey that is registered no more: the browser is told, where it listens, and offers it no longer. */
document.addEventListener("otp_webauthn.verification_failed", (event) => {
  const [rpId, credentialId] = event.detail?.response?.headers.get("Unknown-Credential")?.split(" ") ?? [];
  if (credentialId) {
    window.PublicKeyCredential?.signalUnknownCredential?.({ rpId, credentialId })?.catch(() => {});
  }
});
