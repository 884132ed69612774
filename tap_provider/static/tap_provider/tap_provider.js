/* Small comforts; every page works without them, except passkeys, whose ceremony is django-otp-webauthn's own script. */

/* Times in the zone of whoever reads them, with the zone named. */
const lang = document.documentElement.lang || undefined;
const locale = navigator.languages.find((known) => known.split("-")[0] === lang) ?? lang;
for (const time of document.querySelectorAll("time[data-local]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.valueOf())) {
    time.textContent = at.toLocaleString(locale, {
      day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
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

/* A passkey was registered: show the page anew, with the passkey in its list. */
document.addEventListener("otp_webauthn.register_complete", (event) => {
  window.location.assign(event.target.closest("[data-then]").dataset.then);
});
