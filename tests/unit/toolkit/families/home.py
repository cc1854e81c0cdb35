READING = {"name": "Reading", "rooms": ["Bedroom", "Living room"], "brightness": 70, "color": "cool white"}
ANSWERS = [
    ("switch_lights", {"rooms": ["kitchen", "Hallway"], "state": "on"}, "lights on: Kitchen, Hallway"),
    ("set_light", {"room": "Nursery", "brightness": 10, "color": "red"}, "Nursery: red at 10 percent"),
    ("set_heating", {"room": "Bathroom", "temperature": 23.5, "until": "8:30"}, "Bathroom: 23.5 degrees until 08:30"),
    ("move_blinds", {"room": "Bedroom", "position": "half open"}, "Bedroom: blinds half open"),
    ("room_state", {"room": "Home office", "device": "heating"}, "20.5"),
    ("activate_scene", {"scene": "dinner party"}, "Dinner party in Kitchen, Living room"),
    ("save_scene", READING, "saved Reading for Bedroom, Living room"),
    ("start_appliance", {"appliance": "Dishwasher", "program": "eco"}, "Dishwasher: eco now"),
    (
        "start_appliance",
        {"appliance": "Washing machine", "program": "wool", "start_time": "22:15"},
        "Washing machine: wool at 22:15",
    ),
    ("lock_door", {"door": "Garage"}, "Garage is locked"),
    ("lock_door", {"door": "Front door", "state": "unlocked"}, "Front door is unlocked"),
]
REFUSED = [
    ("switch_lights", {"rooms": ["Kitchen", "Attic"], "state": "on"}, "no room 'Attic'; there is: "),
    ("switch_lights", {"rooms": [], "state": "on"}, "name at least one room"),
    ("set_light", {"room": "Nursery", "brightness": 0}, "brightness is in percent"),
    ("set_heating", {"room": "Bathroom", "temperature": 70}, "from 5 to 30"),
    ("move_blinds", {"room": "Garage", "position": "open"}, "no room 'Garage'"),
    ("room_state", {"room": "Movie night", "device": "light"}, "no room 'Movie night'"),
    ("activate_scene", {"scene": "Kitchen"}, "no scene 'Kitchen'; there is: "),
    ("save_scene", {**READING, "name": "Movie night"}, "there is a scene 'Movie night' already"),
    ("save_scene", {**READING, "rooms": ["Reading"]}, "no room 'Reading'"),
    (
        "start_appliance",
        {"appliance": "Dishwasher", "program": "wool"},
        "no program of the dishwasher 'wool'; there is: ",
    ),
    ("start_appliance", {"appliance": "eco", "program": "Dishwasher"}, "no appliance 'eco'"),
    ("lock_door", {"door": "Kitchen"}, "no door 'Kitchen'"),
]
STORIES = [
    [
        ("save_scene", READING, "saved Reading for Bedroom, Living room"),
        ("activate_scene", {"scene": "Reading"}, "Reading in Bedroom, Living room"),
        ("room_state", {"room": "Bedroom", "device": "brightness"}, "70"),
        ("room_state", {"room": "Bedroom", "device": "blinds"}, "open"),
        ("switch_lights", {"rooms": ["Bedroom"], "state": "off"}, "lights off: Bedroom"),
        ("room_state", {"room": "bedroom", "device": "light"}, "off"),
    ],
]
