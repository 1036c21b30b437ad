// A click on a result's picture asks for it.
element.addEventListener("click", event => {
  const button = event.target.closest("button.pick");
  if (button) trigger("pick", { row: button.dataset.row });
});
