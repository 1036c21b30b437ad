// A page of the run's files, in which no script may run, as high as it is long.
const frame = element.querySelector("iframe");
frame.title = props.value.title;
frame.addEventListener("load", () => {
  const inside = frame.contentDocument && frame.contentDocument.body;
  if (!inside || !frame.src) return;
  element.querySelector(".told").hidden = true;
  const fit = () => { frame.style.height = inside.parentElement.scrollHeight + "px"; };
  new ResizeObserver(fit).observe(inside);
  fit();
});
frame.src = props.value.address;
