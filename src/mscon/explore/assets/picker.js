// An id with suggestions, or a picture's file. `element`, `trigger` and `props` are Gradio's.
const form = element.querySelector("form");
const name = element.querySelector("#pick-id");
const options = element.querySelector("datalist");
const drop = element.querySelector(".drop");
const file = drop.querySelector("input");
const invite = drop.querySelector(".invite");
const mistake = element.querySelector(".mistake");
const invitation = invite.textContent;

function say(words) {
  if (words) trigger("clear");  // what the server said before
  mistake.textContent = words;
  mistake.hidden = !words;
}

let waiting;
name.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const found = await fetch("ids?like=" + encodeURIComponent(name.value)).then(answer => answer.json());
    options.replaceChildren(...found.map(each => Object.assign(document.createElement("option"), { value: each })));
  }, 120);
});

form.addEventListener("submit", event => {
  event.preventDefault();
  say("");
  if (name.value) trigger("pick", { id: name.value });
});

async function send(picture) {
  say("");
  if (picture.size > props.value.most_bytes) return say(props.value.too_large);
  invite.textContent = "Looking at the picture …";
  try {
    const answer = await fetch("uploads", { method: "POST", body: picture });
    const told = await answer.json();
    if (answer.ok) trigger("upload", { key: told.key });
    else say(told.error);
  } catch (error) {
    say("The picture could not be sent: is mscon explore still running?");
  }
  invite.textContent = invitation;
  file.value = "";
}

file.addEventListener("change", () => file.files[0] && send(file.files[0]));
for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]])
  drop.addEventListener(kind, event => {
    event.preventDefault();
    drop.classList.toggle("over", over);
  });
drop.addEventListener("drop", event => event.dataTransfer.files[0] && send(event.dataTransfer.files[0]));
